// The queue: every job with its state, progress and controls, kept up to date while it is seen.
import {add, announce, button, confirm, h, heading, replace, setText, tell} from './dom.js';
import {getJson, post, repeat} from './api.js';
import {duration, jobTitle, percent, sentence, shortId, when} from './format.js';

const ACTIVE = ['queued', 'running', 'pausing', 'paused', 'canceling'];
const FILTERS = {
  '': 'All',
  active: 'Not ended',
  running: 'Running',
  queued: 'Queued',
  paused: 'Paused',
  succeeded: 'Succeeded',
  failed: 'Failed',
  canceled: 'Canceled',
};
export const COMPARE_MOST = 8;

export const stateBadge = (state) => h('span', {class: `badge ${state}`}, state);

// ---- what can be done to a job in a state ----

const controls = [
  {verb: 'pause', text: 'Pause', states: ['queued', 'running']},
  {verb: 'resume', text: 'Resume', states: ['paused', 'pausing']},
  {verb: 'cancel', text: 'Cancel', states: ACTIVE.filter((state) => state !== 'canceling')},
];

async function control(job, verb, done) {
  if (
    verb === 'cancel' &&
    !(await confirm({
      title: `Cancel ${jobTitle(job)}?`,
      action: 'Cancel the job',
      danger: true,
      text: 'It ends after the step it is in. What it has trained so far is given up; a canceled job cannot be resumed.',
    }))
  )
    return;
  const now = await post(`v1/jobs/${encodeURIComponent(job.id)}/${verb}`);
  announce(`${jobTitle(job)}: ${now.state}`);
  done(now);
}

// Buttons for the job; done(job) gets what the daemon answers.
export function controlButtons(job, done) {
  return controls
    .filter(({states}) => states.includes(job.state))
    .map(({verb, text}) =>
      button(text, () => control(job, verb, done), {
        class: verb === 'cancel' ? 'small warn' : 'small',
        'aria-label': `${text} ${jobTitle(job)} ${shortId(job.id)}`,
      }),
    );
}

// ---- progress ----

// "epoch 3 of 24, 2 min left", why it waits, or how it ended.
export function standing(job) {
  const {progress, queue} = job;
  if (job.state === 'queued') {
    const wait =
      queue?.eta_s === null || queue?.eta_s === undefined ? '' : `; starts in about ${duration(queue.eta_s)}`;
    return `${queue?.detail ?? ''}${wait}`;
  }
  if (job.state === 'failed') return job.error?.detail ?? job.error?.title ?? '';
  if (job.terminal)
    return job.started_at
      ? `took ${duration((Date.parse(job.finished_at) - Date.parse(job.started_at)) / 1000)}`
      : '';
  if (job.state === 'running' && job.phase === 'waiting for storage')
    return 'waiting for storage: the disk is full or fails; it goes on from its last checkpoint';
  const parts = [];
  if (job.phase && job.phase !== 'training') parts.push(job.phase);
  if (progress.epochs > 0) parts.push(`epoch ${progress.epoch} of ${progress.epochs}`);
  if (progress.eta_s !== null && job.state === 'running') parts.push(`${duration(progress.eta_s)} left`);
  return parts.join(', ');
}

export function progressBar(label) {
  const bar = h('progress', {max: 1, 'aria-label': label});
  return {
    element: bar,
    update: (job) => {
      bar.hidden = job.terminal;
      bar.value = job.progress.fraction;
    },
  };
}

// ---- the table ----

class Row {
  constructor(job, page) {
    this.page = page;
    this.tick = h('input', {
      type: 'checkbox',
      'aria-label': `Compare ${jobTitle(job)} ${shortId(job.id)}`,
      onchange: () => page.select(job.id, this.tick.checked),
    });
    this.state = h('td');
    this.bar = progressBar(`Progress of ${jobTitle(job)} ${shortId(job.id)}`);
    this.standing = h('div', {class: 'soft'});
    this.accuracy = h('td', {class: 'number wide'});
    this.created = h('td', {class: 'wide'});
    this.actions = h('td', {class: 'actions'});
    const labels = Object.entries(job.labels ?? {}).map(([name, value]) =>
      h('span', {class: 'label'}, `${name}: ${value}`),
    );
    this.element = h(
      'tr',
      null,
      h('td', {class: 'tick'}, this.tick),
      h(
        'td',
        {class: 'main'},
        h('a', {href: `#/jobs/${encodeURIComponent(job.id)}`}, jobTitle(job)),
        h('div', {class: 'soft'}, h('code', {title: job.id}, shortId(job.id)), labels),
      ),
      this.state,
      h('td', {class: 'progress'}, this.bar.element, this.standing),
      this.accuracy,
      this.created,
      this.actions,
    );
  }

  update(job) {
    if (this.job?.state !== job.state) {
      if (this.job) announce(`${jobTitle(job)} ${shortId(job.id)}: ${job.state}`);
      replace(this.state, stateBadge(job.state));
      const focused = this.actions.contains(document.activeElement);
      replace(
        this.actions,
        controlButtons(job, (now) => this.update(now)),
      );
      if (focused) (this.actions.querySelector('button') ?? this.tick).focus();
    }
    this.job = job;
    this.bar.update(job);
    setText(this.standing, sentence(standing(job)));
    setText(this.accuracy, percent(job.metrics?.accuracy));
    replace(this.created, when(job.created_at));
  }
}

class Jobs {
  constructor(root, signal) {
    this.root = root;
    this.signal = signal;
    this.rows = new Map();
    this.selected = new Set();
    this.more = 50;
    this.body = h('tbody');
    this.filter = h(
      'select',
      {id: 'filter', onchange: () => this.reload()},
      Object.entries(FILTERS).map(([value, text]) => h('option', {value}, text)),
    );
    this.compare = h('a', {class: 'button', 'aria-disabled': 'true'}, 'Compare');
    this.empty = h(
      'p',
      {class: 'empty', hidden: true},
      'No jobs here. ',
      h('a', {href: '#/new'}, 'Submit one'),
      '.',
    );
    this.next = button(
      'Show older jobs',
      () => {
        this.more += 50;
        return this.load();
      },
      {hidden: true},
    );
    add(root, [
      heading('Jobs'),
      h(
        'div',
        {class: 'toolbar'},
        h('label', {for: 'filter'}, 'Show'),
        this.filter,
        h('span', {class: 'space'}),
        this.compare,
        h('a', {class: 'button primary', href: '#/new'}, 'New job'),
      ),
      (this.table = h(
        'table',
        {class: 'jobs'},
        h('caption', {class: 'hidden'}, 'Jobs, newest first'),
        h(
          'thead',
          null,
          h(
            'tr',
            null,
            h('th', {scope: 'col'}, h('span', {class: 'hidden'}, 'Compare')),
            h('th', {scope: 'col'}, 'Job'),
            h('th', {scope: 'col'}, 'State'),
            h('th', {scope: 'col'}, 'Progress'),
            h('th', {scope: 'col', class: 'number wide'}, 'Accuracy'),
            h('th', {scope: 'col', class: 'wide'}, 'Submitted'),
            h('th', {scope: 'col'}, h('span', {class: 'hidden'}, 'Actions')),
          ),
        ),
        this.body,
      )),
      this.empty,
      this.next,
    ]);
    this.select();
  }

  select(id, on) {
    if (on === true) this.selected.add(id);
    else this.selected.delete(id);
    const n = this.selected.size;
    const fits = n >= 1 && n <= COMPARE_MOST;
    setText(this.compare, n === 0 ? 'Compare' : `Compare ${n}`);
    this.compare.title = fits ? '' : `Tick up to ${COMPARE_MOST} jobs to see them in one plot`;
    if (fits) {
      this.compare.href = `#/compare?jobs=${[...this.selected].map(encodeURIComponent).join(',')}`;
      this.compare.removeAttribute('aria-disabled');
    } else {
      this.compare.removeAttribute('href');
      this.compare.setAttribute('aria-disabled', 'true');
    }
  }

  reload() {
    this.more = 50;
    this.load().catch(tell);
  }

  async load() {
    const {value} = this.filter;
    const query = {limit: 50, state: value === 'active' ? ACTIVE : value};
    const jobs = [];
    let cursor = null;
    do {
      const page = await getJson('v1/jobs', {query: {...query, cursor}, signal: this.signal});
      jobs.push(...page.data);
      cursor = page.next;
    } while (cursor && jobs.length < this.more);
    if (this.filter.value === value) this.show(jobs, cursor !== null);
    return jobs;
  }

  show(jobs, more) {
    const seen = new Set();
    let before = null;
    for (const job of jobs) {
      const row = this.rows.get(job.id) ?? new Row(job, this);
      this.rows.set(job.id, row);
      row.update(job);
      seen.add(job.id);
      const place = before ? before.nextSibling : this.body.firstChild;
      if (place !== row.element) this.body.insertBefore(row.element, place);
      before = row.element;
    }
    for (const [id, row] of this.rows)
      if (!seen.has(id)) {
        row.element.remove();
        this.rows.delete(id);
        this.select(id, false);
      }
    this.empty.hidden = jobs.length > 0;
    this.table.hidden = jobs.length === 0;
    this.next.hidden = !more;
  }
}

// Progress is in no event, so the list is asked for: often while something runs.
const pace = (jobs) =>
  jobs.some((job) => job.state === 'running' || job.state.endsWith('ing')) ? 1500 : 5000;

export async function jobsPage(root, {signal}) {
  const jobs = new Jobs(root, signal);
  await repeat(() => jobs.load(), pace, signal);
}
