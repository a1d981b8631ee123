// Several jobs in one plot, one metric at a time.
import {add, h, heading, replace, table} from './dom.js';
import {getJson, repeat} from './api.js';
import {jobTitle, listText, percent, shortId, when} from './format.js';
import {COMPARE_MOST, stateBadge} from './jobs.js';
import {Curves} from './curves.js';
import {formatOf, loadMetric} from './metrics.js';

// What differs between the specifications: {"mask.drop_low": [values]}.
function differences(specs) {
  const flat = specs.map((spec) => flatten(spec));
  const names = [...new Set(flat.flatMap((one) => Object.keys(one)))].sort();
  return names
    .filter((name) => new Set(flat.map((one) => one[name])).size > 1)
    .map((name) => [name, flat.map((one) => one[name] ?? '–')]);
}

function flatten(value, prefix = '', into = {}) {
  for (const [name, v] of Object.entries(value ?? {})) {
    if (v && typeof v === 'object' && !Array.isArray(v)) flatten(v, `${prefix}${name}.`, into);
    else if (v !== null) into[prefix + name] = Array.isArray(v) ? listText(v) : String(v);
  }
  return into;
}

// Labels that tell the jobs apart.
const labelOf = (job) => `${job.labels?.name ?? jobTitle(job)} (${shortId(job.id)})`;

function overview(jobs) {
  const differing = differences(jobs.map((job) => ({...job.spec, labels: job.labels})));
  return table(
    'The jobs and what differs between them',
    ['', ...jobs.map((job) => job.id).map((id) => ({text: shortId(id)}))],
    [
      ['Job', ...jobs.map((job) => h('a', {href: `#/jobs/${encodeURIComponent(job.id)}`}, labelOf(job)))],
      ['State', ...jobs.map((job) => stateBadge(job.state))],
      ['Submitted', ...jobs.map((job) => when(job.created_at))],
      ['Accuracy', ...jobs.map((job) => percent(job.metrics.accuracy))],
      ...differing.map(([name, values]) => [h('code', null, name), ...values]),
    ],
  );
}

export async function comparePage(root, {query, signal}) {
  const ids = [...new Set((query.get('jobs') ?? '').split(',').filter(Boolean))].slice(0, COMPARE_MOST);
  add(root, [h('p', {class: 'crumbs'}, h('a', {href: '#/jobs'}, 'Jobs'), ' / Compare'), heading('Compare')]);
  if (!ids.length) {
    add(root, [
      h('p', {class: 'empty'}, 'Tick jobs in the ', h('a', {href: '#/jobs'}, 'list'), ' to compare them.'),
    ]);
    return;
  }
  const choice = h('select', {id: 'metric', onchange: () => load()});
  const place = h('div');
  const about = h('div');
  let curves = null;
  let jobs = [];
  add(root, [
    h('div', {class: 'toolbar'}, h('label', {for: 'metric'}, 'Metric'), choice),
    place,
    h('h2', null, 'Jobs'),
    about,
  ]);
  signal.addEventListener('abort', () => curves?.close());

  function offer() {
    const names = [...new Set(jobs.flatMap((job) => Object.keys(job.metrics)))].sort();
    if (names.length === choice.options.length) return;
    const before = choice.value || query.get('metric') || 'accuracy';
    replace(
      choice,
      names.map((name) => h('option', {value: name}, name)),
    );
    choice.value = names.includes(before) ? before : (names[0] ?? '');
  }

  async function load() {
    const name = choice.value;
    const rows = name ? await Promise.all(jobs.map((job) => loadMetric(job.id, name, 'epoch', signal))) : [];
    if (signal.aborted || choice.value !== name) return;
    if (curves?.title !== name) {
      curves?.close();
      curves = new Curves({title: name, format: formatOf(name)});
      replace(place, name ? curves.element : h('p', {class: 'empty'}, 'These jobs have no metrics yet.'));
    }
    curves.show(
      jobs.map((job, i) => ({
        name: job.id,
        label: labelOf(job),
        points: new Map(rows[i]?.map(({epoch, value}) => [epoch, value]) ?? []),
      })),
    );
  }

  await repeat(
    async () => {
      jobs = await Promise.all(ids.map((id) => getJson(`v1/jobs/${encodeURIComponent(id)}`, {signal})));
      offer();
      await load();
      replace(about, overview(jobs));
    },
    () => (jobs.every((job) => job.terminal) ? null : 3000),
    signal,
  );
}
