// One job: where it stands, its curves as they grow, its log and its settings.
import {add, announce, button, facts, h, heading, problemBox, replace, setText, table} from './dom.js';
import {follow, getJson, repeat, save} from './api.js';
import {clock, count, figure, jobTitle, listText, percent, sentence, when} from './format.js';
import {controlButtons, progressBar, standing, stateBadge} from './jobs.js';
import {Curves} from './curves.js';
import {Metrics, formatOf} from './metrics.js';

const LOG_MOST = 500;

// Draws at most every so often, however many events come in.
function throttled(work, ms) {
  let timer = null;
  return () => {
    timer ??= setTimeout(() => {
      timer = null;
      work();
    }, ms);
  };
}

class Plots {
  constructor() {
    this.curves = new Map();
    this.element = h('div', {class: 'plots'});
  }

  show(panels) {
    for (const {panel, series} of panels) {
      if (!this.curves.has(panel.title)) {
        this.curves.set(panel.title, new Curves(panel));
        this.element.append(this.curves.get(panel.title).element);
      }
      this.curves.get(panel.title).show(series);
    }
  }

  close() {
    for (const curves of this.curves.values()) curves.close();
  }
}

function figuresTable(metrics) {
  const {names, rows} = metrics.table();
  return table(
    'Metrics of each epoch, newest first',
    ['Epoch', ...names.map((text) => ({text, class: 'number'}))],
    rows.map(([epoch, ...values]) => [count(epoch), ...values.map((value, i) => formatOf(names[i])(value))]),
  );
}

// What the mask's level cost and gained where it was measured.
function levelFacts(level) {
  if (!level) return [];
  const {linear_ssim: ssim, linkage} = level;
  const onBoth = ({in_use, training}) => `${figure(in_use)} in use, ${figure(training)} trained on`;
  return [
    ['Level', `${level.level}, ${level.as_measured ? '' : 'but not '}as measured on ${level.measured_on}`],
    [
      'Accuracy of the level',
      `${percent(level.accuracy)}, without a mask ${percent(level.accuracy_without_mask)}`,
    ],
    ['SSIM of linear', onBoth(ssim)],
    ['TAR of linkage', `${onBoth(linkage)}, without a mask ${figure(linkage.without_mask)}`],
  ];
}

// Settings as a tree of terms; what is null is left out.
function settings(value) {
  return facts(
    Object.entries(value)
      .filter(([, v]) => v !== null && !(typeof v === 'object' && Object.keys(v).length === 0))
      .map(([name, v]) => [
        name,
        Array.isArray(v) ? listText(v) : typeof v === 'object' ? settings(v) : String(v),
      ]),
  );
}

class JobView {
  constructor(root, id, signal) {
    Object.assign(this, {
      id,
      signal,
      metrics: new Metrics(),
      plots: new Plots(),
      job: null,
      told: new Set(),
      said: '',
    });
    this.path = `v1/jobs/${encodeURIComponent(id)}`;
    this.title = heading('Job');
    this.badge = h('span');
    this.actions = h('div', {class: 'actions'});
    this.bar = progressBar('Progress');
    this.standing = h('p', {class: 'standing'});
    this.outcome = h('div');
    this.head = h('div');
    this.live = h('span', {class: 'soft live'});
    this.table = h('div');
    this.figures = h(
      'details',
      {hidden: true, ontoggle: () => this.showFigures()},
      h('summary', null, 'Figures as a table'),
      this.table,
      h(
        'p',
        null,
        button('Download all as CSV', () => this.saveAll(), {class: 'small'}),
      ),
    );
    this.log = h('ol');
    this.settings = h('details', null, h('summary', null, 'Settings'));
    this.nothing = h('p', {class: 'empty', hidden: true}, 'Curves appear with the first epoch.');
    add(root, [
      h('p', {class: 'crumbs'}, h('a', {href: '#/jobs'}, 'Jobs'), ' / ', h('code', null, id)),
      h('div', {class: 'title'}, this.title, this.badge, h('span', {class: 'space'}), this.actions),
      h('div', {class: 'card'}, this.bar.element, this.standing, this.outcome, this.head),
      (this.curves = h('div', {class: 'title'}, h('h2', null, 'Curves'), this.live)),
      this.nothing,
      this.plots.element,
      this.figures,
      h('h2', null, 'Log'),
      h('div', {class: 'log', tabindex: 0, role: 'region', 'aria-label': 'Log'}, this.log),
      this.settings,
    ]);
    signal.addEventListener('abort', () => this.plots.close());
    this.loadSoon = throttled(() => this.load().catch(() => {}), 200);
    this.drawSoon = throttled(() => this.draw(), 250);
    this.stepsSoon = throttled(() => this.metrics.loadSteps(id, signal).then(this.drawSoon, () => {}), 400);
  }

  async load() {
    this.show(await getJson(this.path, {signal: this.signal}));
    return this.job;
  }

  show(job) {
    const before = this.job;
    this.job = job;
    setText(this.title, jobTitle(job));
    document.title = `${jobTitle(job)} · guise`;
    this.bar.update(job);
    setText(this.standing, job.state === 'failed' ? '' : sentence(standing(job)));
    this.showFacts(job);
    this.curves.hidden = job.type === 'audit';
    this.nothing.hidden = job.type === 'audit' || this.metrics.epochs.size > 0 || job.terminal;
    if (before?.state === job.state && before.model === job.model) return;
    replace(this.badge, stateBadge(job.state));
    if (before) announce(`The job is ${job.state}`);
    const focused = this.actions.contains(document.activeElement);
    replace(
      this.actions,
      controlButtons(job, (now) => this.show(now)),
      h('a', {class: 'button small', href: `#/new?from=${encodeURIComponent(job.id)}`}, 'New job like this'),
      job.type === 'train'
        ? h('a', {class: 'button small', href: `#/compare?jobs=${encodeURIComponent(job.id)}`}, 'Compare')
        : null,
    );
    if (focused) this.actions.firstElementChild?.focus();
    replace(
      this.outcome,
      job.error ? problemBox(job.error) : null,
      job.model
        ? h(
            'p',
            null,
            h(
              'a',
              {class: 'button primary', href: `#/models/${encodeURIComponent(job.model)}`},
              job.type === 'audit' ? 'The model it attacks' : 'Model and privacy report',
            ),
          )
        : null,
    );
    if (!before)
      replace(
        this.settings,
        h('summary', null, 'Settings'),
        settings(job.spec ?? {}),
        h('details', null, h('summary', null, 'As JSON'), h('pre', null, JSON.stringify(job.spec, null, 2))),
      );
  }

  showFacts(job) {
    const {progress, metrics} = job;
    replace(
      this.head,
      facts([
        ['Accuracy', percent(metrics.accuracy)],
        ['Loss', figure(metrics.loss)],
        ['Step', progress.total ? `${count(progress.step)} of ${count(progress.total)}` : null],
        ['Images a second', progress.images_per_s ? count(Math.round(progress.images_per_s)) : null],
        ['Submitted', when(job.created_at)],
        ['Started', job.started_at ? when(job.started_at) : null],
        ['Ended', job.finished_at ? when(job.finished_at) : null],
        ['Attempt', job.attempt > 1 ? count(job.attempt) : null],
        ['Priority', job.spec?.priority ? String(job.spec.priority) : null],
        ['Owner', job.owner],
        ...levelFacts(job.mask_level),
        ...Object.entries(job.labels ?? {}).map(([name, value]) => [name, value]),
      ]),
    );
  }

  take({event, data}) {
    if (event === 'metric') {
      this.metrics.add(data);
      this.nothing.hidden = true;
      if (data.name === 'loss') this.stepsSoon();
      this.drawSoon();
    } else if (event === 'state') {
      if (this.isNews(data))
        this.note(
          data.at ?? this.job.created_at,
          `${data.state}${data.phase ? ` (${data.phase})` : ''}${data.reason ? `: ${data.reason}` : ''}`,
        );
      this.loadSoon();
    } else if (event === 'log') {
      this.note(null, data.text, data.level);
    } else if (event === 'end') {
      this.loadSoon();
    }
  }

  // Each epoch goes from training to verifying and back: that is told once.
  isNews({state, phase, attempt}) {
    const told = `${state} ${phase} ${attempt}`;
    const old = this.told.has(told) && state === this.said;
    this.told.add(told);
    this.said = state;
    return !old;
  }

  note(at, text, level = '') {
    this.log.append(
      h(
        'li',
        {class: level},
        at ? h('time', {datetime: at}, clock(at)) : null,
        level ? h('b', null, level) : null,
        h('span', null, text),
      ),
    );
    if (this.log.childElementCount > LOG_MOST) this.log.firstElementChild.remove();
  }

  draw() {
    if (this.signal.aborted) return;
    this.plots.show(this.metrics.panels());
    this.figures.hidden = this.metrics.epochs.size === 0;
    this.showFigures();
  }

  showFigures() {
    if (this.figures.open) replace(this.table, figuresTable(this.metrics));
  }

  saveAll() {
    return save(`${this.path}/metrics`, {format: 'csv'}, `${this.id}.csv`);
  }

  setLive(state) {
    if (!this.signal.aborted)
      setText(
        this.live,
        state === 'live' && !this.job.terminal ? 'live' : state === 'lost' ? 'connecting again…' : '',
      );
  }
}

export async function jobPage(root, {id, signal}) {
  const view = new JobView(root, id, signal);
  await view.load();
  await Promise.all([
    follow(`${view.path}/events`, (event) => view.take(event), {
      signal,
      onstate: (state) => view.setLive(state),
    }).then(() => view.setLive('')),
    // progress is in no event
    repeat(
      () => view.load(),
      (job) => (job.terminal ? null : 1500),
      signal,
    ),
  ]);
}
