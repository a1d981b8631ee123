// A job's metrics: how they come in, and which of them stand together in a plot.
import {getText} from './api.js';
import {figure, percent} from './format.js';

const shares = [1, 2, 3, 4, 5, 6];
const ofK = (name) => shares.map((k) => [`strategy.${name}_${k}`, `k = ${k}`]);

// Metrics by name, each with its label. What is in none of them gets a plot of its own.
const PANELS = [
  {
    title: 'Verification',
    note: 'On pairs that were not trained on',
    format: percent,
    names: [
      ['accuracy', 'accuracy'],
      ['eer', 'equal error rate'],
      ['tar_at_far_1e-2', 'TAR at FAR 1 %'],
      ['tar_at_far_1e-3', 'TAR at FAR 0.1 %'],
    ],
  },
  {
    title: 'Verification of held-out people',
    format: percent,
    names: [
      ['held_out.accuracy', 'accuracy'],
      ['held_out.eer', 'equal error rate'],
      ['held_out.tar_at_far_1e-2', 'TAR at FAR 1 %'],
      ['held_out.tar_at_far_1e-3', 'TAR at FAR 0.1 %'],
    ],
  },
  {
    title: 'Shares of k',
    note: 'How often the strategy mixes k faces',
    stacked: true,
    format: percent,
    names: ofK('pi'),
  },
  {title: 'Mean k', note: 'Faces in a template', names: [['strategy.mean_k', 'mean k']]},
  {title: 'Entropy', note: 'Of the strategy, nats', names: [['strategy.entropy', 'entropy']]},
  {
    title: 'Leak',
    note: 'What the probe gets out of a mix',
    names: [['leak', 'all'], ['strategy.leak', 'all'], ...ofK('leak')], // the second: jobs of before
  },
  {
    title: 'Price of accuracy',
    note: 'The price mu rises while the cost lies above the bound tau',
    names: [
      ['strategy.mu', 'mu'],
      ['strategy.tau', 'tau'],
      ['strategy.cost', 'cost'],
    ],
  },
  {
    title: 'Whom the strategy leaves unmixed',
    note: 'How far its probability of k = 1 differs between people, and its correlation with how alike their photographs are',
    names: [
      ['strategy.alone_deviation', 'deviation'],
      ['strategy.alone_alike', 'correlation'],
    ],
  },
  {title: 'Reward', names: [['strategy.reward', 'all'], ...ofK('reward')]},
  {
    title: 'Divergence',
    note: 'KL of what the recogniser says of a mix',
    names: [['strategy.kl', 'all'], ...ofK('kl')],
  },
  {
    title: 'Error of the probe',
    note: 'Before it is asked what a mix gives away',
    names: [['probe.error', 'error']],
  },
  {
    title: 'Lost against the reference',
    format: percent,
    names: [
      ['strategy.accuracy_drop', 'accuracy'],
      ['strategy.tar_drop', 'TAR at FAR 1 %'],
    ],
  },
  {title: 'Speed', note: 'Images a second', names: [['images_per_s', 'images/s']]},
  {title: 'Learning rate', names: [['lr', 'learning rate']]},
];
const LOSS = {title: 'Loss', note: 'Over steps', x: 'step', faint: 'loss.step'};

export const formatOf = (name) => PANELS.find(({names}) => names.some(([n]) => n === name))?.format ?? figure;

export class Metrics {
  constructor() {
    this.epochs = new Map(); // name -> Map of epoch to {step, value}
    this.steps = new Map(); // step -> loss
    this.last = 0;
  }

  // The data of a metric event.
  add({name, epoch, step, value}) {
    if (!this.epochs.has(name)) this.epochs.set(name, new Map());
    this.epochs.get(name).set(epoch, {step, value});
    this.last = Math.max(this.last, epoch);
  }

  async loadSteps(job, signal) {
    const rows = await loadMetric(job, 'loss', 'step', signal);
    this.steps = new Map(rows.map(({step, value}) => [step, value]));
  }

  points(name) {
    return new Map([...(this.epochs.get(name) ?? [])].map(([epoch, {value}]) => [epoch, value]));
  }

  // What to draw: [{panel, series}].
  panels() {
    const left = new Set(this.epochs.keys());
    const drawn = [];
    left.delete('loss');
    for (const panel of PANELS) {
      const there = panel.names.filter(([name]) => left.delete(name));
      if (there.length)
        drawn.push({panel, series: there.map(([name, label]) => ({name, label, points: this.points(name)}))});
    }
    for (const name of [...left].sort())
      drawn.push({panel: {title: name, names: []}, series: [{name, label: name, points: this.points(name)}]});
    return this.epochs.has('loss') || this.steps.size ? [this.lossPanel(), ...drawn] : drawn;
  }

  lossPanel() {
    const epochs = new Map([...(this.epochs.get('loss') ?? [])].map(([, {step, value}]) => [step, value]));
    return {
      panel: LOSS,
      series: [
        {name: 'loss', label: 'mean of the epoch', points: epochs},
        {name: 'loss.step', label: 'single steps', points: this.steps},
      ],
    };
  }

  // Names and one row an epoch, newest first.
  table() {
    const names = [...this.epochs.keys()];
    const rows = [];
    for (let epoch = this.last; epoch >= 1; epoch--)
      rows.push([epoch, ...names.map((name) => this.epochs.get(name).get(epoch)?.value ?? null)]);
    return {names, rows};
  }
}

// [{step, epoch, value}], in one answer: as CSV, which has no pages.
export async function loadMetric(job, name, resolution, signal) {
  const text = await getText(`v1/jobs/${encodeURIComponent(job)}/metrics`, {
    query: {name, resolution, format: 'csv'},
    signal,
  });
  return text
    .trim()
    .split('\r\n')
    .slice(1)
    .map((line) => line.split(','))
    .map(([step, epoch, , value]) => ({
      step: Number(step),
      epoch: Number(epoch),
      value: value === '' ? null : Number(value),
    }));
}
