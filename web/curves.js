// Curves, drawn by uPlot: several names over epochs or steps in one panel, stacked or not. The legend is ours: it shows the
// values under the pointer, else the last ones, and switches single curves off.
import {h, replace} from './dom.js';
import {count, figure, percent} from './format.js';

const HEIGHT = 220;

// Labels of an axis: as many digits as its steps need.
function digits(step) {
  let n = 0;
  while (n < 8 && Math.abs(step * 10 ** n - Math.round(step * 10 ** n)) > 1e-6 * step * 10 ** n) n++;
  return n;
}
const plain = (value, step) => (step < 1e-4 ? value.toExponential(0) : value.toFixed(digits(step)));
const shares = (value, step) => `${(100 * value).toFixed(digits(100 * step))} %`;

// A colour of the style sheet as the canvas wants it, whatever the theme.
function colour(name) {
  const probe = document.createElement('span');
  probe.style.color = `var(${name})`;
  document.body.append(probe);
  const value = getComputedStyle(probe).color;
  probe.remove();
  return value;
}

const faded = (rgb) => rgb.replace(/^rgb\((.*)\)$/, 'rgba($1, 0.25)');

// The last value that is one.
const last = (values) => values.findLast((value) => value !== null && value !== undefined) ?? null;

export class Curves {
  // format: of values; x: what the axis counts; stacked: curves are parts of a whole; faint: name of a curve in the background
  constructor({title, note = '', x = 'epoch', format = figure, stacked = false, faint = null}) {
    Object.assign(this, {x, format, stacked, faint, hidden: new Set(), plot: null, names: [], labels: []});
    this.legend = h('ul', {class: 'legend'});
    this.area = h('div', {class: 'plot', role: 'img', 'aria-label': title});
    this.element = h(
      'section',
      {class: 'card curves', 'aria-label': title},
      h('h3', null, title),
      note ? h('p', {class: 'soft'}, note) : null,
      this.area,
      this.legend,
    );
    this.title = title;
    this.resize = new ResizeObserver(() => this.plot?.setSize(this.size()));
    this.resize.observe(this.area);
    this.redraw = () => this.draw();
    document.addEventListener('guise-theme', this.redraw);
  }

  close() {
    this.resize.disconnect();
    document.removeEventListener('guise-theme', this.redraw);
    this.plot?.destroy();
  }

  size() {
    return {width: Math.max(this.area.clientWidth, 200), height: HEIGHT};
  }

  // series: [{name, label, points: Map of x to value}]
  show(series) {
    const xs = [...new Set(series.flatMap(({points}) => [...points.keys()]))].sort((a, b) => a - b);
    const names = series.map(({name}) => name);
    this.values = [xs, ...series.map(({points}) => xs.map((at) => points.get(at) ?? null))];
    this.labels = series.map(({label}) => label);
    const same =
      this.plot && names.length === this.names.length && names.every((name, i) => name === this.names[i]);
    this.names = names;
    if (same) this.plot.setData(this.drawn());
    else this.draw();
    this.read(null);
  }

  // What the canvas gets: sums of all curves up to one's own when they are stacked, hidden ones left out.
  drawn() {
    if (!this.stacked) return this.values;
    const sum = this.values[0].map(() => 0);
    return [
      this.values[0],
      ...this.values.slice(1).map((values, i) =>
        values.map((value, at) => {
          if (value !== null && !this.hidden.has(this.names[i])) sum[at] += value;
          return value === null ? null : sum[at];
        }),
      ),
    ];
  }

  draw() {
    this.plot?.destroy();
    this.plot = null;
    this.colours = this.names.map((name, i) =>
      colour(name === this.faint ? '--soft' : `--curve-${(i % 8) + 1}`),
    );
    this.area.replaceChildren();
    if (this.values?.[0]?.length) this.plot = new uPlot(this.options(), this.drawn(), this.area);
    this.drawLegend();
  }

  options() {
    const style = {
      stroke: colour('--soft'),
      grid: {stroke: colour('--line'), width: 1},
      ticks: {show: false},
      font: '12px system-ui, sans-serif',
    };
    const many = this.values[0].length > 60;
    const series = this.names.map((name, i) => ({
      label: this.labels[i],
      show: !this.hidden.has(name),
      stroke: this.colours[i],
      width: name === this.faint ? 1 : 1.75,
      dash: i >= 4 && !this.stacked ? [6, 3] : undefined,
      spanGaps: true,
      points: {show: !many && name !== this.faint, size: 5},
      fill: this.stacked ? faded(this.colours[i]) : undefined,
    }));
    return {
      ...this.size(),
      padding: [8, 12, 0, 0],
      legend: {show: false},
      scales: {
        x: {time: false, range: (plot, low, high) => (low === high ? [low - 1, high + 1] : [low, high])},
        y: {range: this.stacked ? [0, 1] : undefined},
      },
      cursor: {y: false, drag: {x: true, y: false}, points: {size: 7}},
      axes: [
        {
          ...style,
          size: 32,
          incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000, 50000, 100000],
          values: (plot, splits) => splits.map((split) => count(split)),
        },
        {
          ...style,
          size: 58,
          values: (plot, splits, axis, space, step) =>
            splits.map((split) => (this.format === percent ? shares : plain)(split, step)),
        },
      ],
      series: [{}, ...series],
      bands: this.stacked ? this.names.slice(1).map((name, i) => ({series: [i + 2, i + 1]})) : [],
      hooks: {setCursor: [(plot) => this.read(plot.cursor.idx)]},
    };
  }

  drawLegend() {
    this.readings = this.names.map(() => h('span', {class: 'reading'}));
    replace(
      this.legend,
      this.names.map((name, i) => {
        const swatch = h('span', {class: 'swatch', 'aria-hidden': 'true'});
        swatch.style.backgroundColor = this.colours[i];
        return h(
          'li',
          null,
          h(
            'button',
            {
              type: 'button',
              class: 'quiet',
              'aria-pressed': String(!this.hidden.has(name)),
              title: 'Show or hide this curve',
              onclick: (event) => this.toggle(name, event.currentTarget),
            },
            swatch,
            this.labels[i],
            this.readings[i],
          ),
        );
      }),
    );
    this.where = h('li', {class: 'where soft'});
    this.legend.append(this.where);
  }

  toggle(name, element) {
    if (!this.hidden.delete(name)) this.hidden.add(name);
    element.setAttribute('aria-pressed', String(!this.hidden.has(name)));
    this.plot?.setSeries(this.names.indexOf(name) + 1, {show: !this.hidden.has(name)});
    if (this.stacked) this.plot?.setData(this.drawn());
  }

  // Values at a place of the x axis; null = the last ones.
  read(index) {
    if (!this.readings) return;
    const [xs, ...values] = this.values;
    const at = index === null || index === undefined ? null : xs[index];
    this.readings.forEach((reading, i) => {
      reading.textContent = this.format(at === null ? last(values[i]) : values[i][index]);
    });
    this.where.textContent = at === null ? '' : `${this.x} ${count(at)}`;
    const told = this.labels.map((label, i) => `${label} ${this.format(last(values[i]))}`).join(', ');
    this.area.setAttribute(
      'aria-label',
      `${this.title}, last values: ${told}. The table below has all of them.`,
    );
  }
}
