// A new job: a form made from what the daemon says a job is, empty, or filled with another job's settings (?from=), or an
// audit of a model (?type=audit&model=).
import {add, announce, button, h, heading, problemBox, replace} from './dom.js';
import {getJson, idempotencyKey, list, postJson} from './api.js';
import {jobTitle, shortId} from './format.js';
import {Form} from './form.js';
import {jobFields} from './schema.js';

const TYPES = {
  train: {
    schema: 'JobSpec',
    text: 'Train a model',
    first: [
      '/dataset',
      '/mask/method',
      '/train/epochs',
      '/train/batch',
      '/model/arch',
      '/model/input',
      '/audit/effort',
      '/audit/public_dataset',
    ],
  },
  audit: {
    schema: 'AuditSpec',
    text: 'Audit a model',
    first: ['/model', '/audit/effort', '/audit/attacks', '/audit/public_dataset'],
  },
};

// Suggestions for fields that name data sets and models.
async function suggestions(signal) {
  const [datasets, models] = await Promise.all([
    list('v1/datasets', {signal}).catch(() => []),
    list('v1/models', {signal}).catch(() => []),
  ]);
  return [
    h(
      'datalist',
      {id: 'list-datasets'},
      datasets.map((d) => h('option', {value: d.name}, `${d.identities} people, ${d.images} images`)),
    ),
    h(
      'datalist',
      {id: 'list-models'},
      models.map((m) => h('option', {value: m.id}, `${m.facts?.mask?.method ?? ''} ${shortId(m.id)}`)),
    ),
  ];
}

class NewJob {
  constructor(root, signal, type) {
    Object.assign(this, {root, signal, type, key: idempotencyKey()});
    this.summary = h('div', {tabindex: -1});
    this.place = h('div');
    this.json = h('pre');
    this.types = h(
      'fieldset',
      {class: 'types'},
      h('legend', null, 'What to do'),
      Object.entries(TYPES).map(([name, {text}]) =>
        h(
          'label',
          {class: 'check'},
          h('input', {
            type: 'radio',
            name: 'type',
            value: name,
            checked: name === type,
            onchange: () => this.choose(name),
          }),
          text,
        ),
      ),
    );
    add(root, [
      h('p', {class: 'crumbs'}, h('a', {href: '#/jobs'}, 'Jobs'), ' / New'),
      heading('New job'),
      (this.about = h('p', {class: 'soft'}, 'What you leave empty takes the daemon’s default.')),
      this.summary,
      h(
        'form',
        {
          novalidate: true,
          class: 'job',
          onsubmit: (event) => {
            event.preventDefault();
            this.submit();
          },
        },
        this.types,
        this.place,
        h(
          'details',
          null,
          h('summary', null, 'As JSON'),
          h('p', {class: 'soft'}, 'What is sent; ', h('code', null, 'guise submit FILE'), ' takes the same.'),
          this.json,
        ),
        h(
          'div',
          {class: 'actions end'},
          button('Check only', () => this.check()),
          (this.go = h('button', {type: 'submit', class: 'primary'}, 'Submit')),
        ),
      ),
    ]);
  }

  async choose(type, spec = null) {
    this.type = type;
    const {schema, first} = TYPES[type];
    const fields = await jobFields(schema);
    this.form = new Form(fields, first, () => this.changed());
    if (spec) this.form.fill(spec);
    replace(this.place, this.form.element);
    replace(this.summary);
    this.changed();
  }

  changed() {
    this.key = idempotencyKey();
    this.json.textContent = JSON.stringify(this.form.value(), null, 2);
  }

  fail(error) {
    if (error.status !== 422 || !error.errors.length) {
      replace(this.summary, problemBox(error));
      return;
    }
    const entries = this.form.show(error.errors);
    replace(
      this.summary,
      h(
        'div',
        {class: 'box bad', role: 'alert'},
        h(
          'strong',
          null,
          entries.length === 1
            ? 'One value has to be corrected'
            : `${entries.length} values have to be corrected`,
        ),
        h(
          'ul',
          null,
          entries.map(({label, detail, go}) =>
            h(
              'li',
              null,
              go ? h('button', {type: 'button', class: 'link', onclick: go}, label) : h('code', null, label),
              ` ${detail}`,
            ),
          ),
        ),
      ),
    );
    this.summary.focus();
  }

  async send(query) {
    this.form.show([]);
    replace(this.summary);
    return postJson('v1/jobs', this.form.value(), {
      query,
      signal: this.signal,
      headers: query.dry_run ? {} : {'Idempotency-Key': this.key},
    });
  }

  async check() {
    try {
      const job = await this.send({dry_run: 'true'});
      replace(
        this.summary,
        h(
          'div',
          {class: 'box good', role: 'status'},
          h('strong', null, 'All is in order'),
          h(
            'details',
            null,
            h('summary', null, 'The job with all defaults'),
            h('pre', null, JSON.stringify(job.spec, null, 2)),
          ),
        ),
      );
      this.summary.focus();
    } catch (error) {
      this.fail(error);
    }
  }

  async submit() {
    if (this.go.disabled) return;
    this.go.disabled = true;
    try {
      const job = await this.send({});
      announce('The job was submitted');
      location.hash = `#/jobs/${encodeURIComponent(job.id)}`;
    } catch (error) {
      this.fail(error);
    } finally {
      this.go.disabled = false;
    }
  }
}

export async function newJobPage(root, {query, signal}) {
  const from = query.get('from');
  const source = from ? await getJson(`v1/jobs/${encodeURIComponent(from)}`, {signal}) : null;
  const type = source?.type ?? (query.get('type') === 'audit' ? 'audit' : 'train');
  const page = new NewJob(root, signal, type);
  if (source)
    add(page.about, [
      ` Filled in from ${jobTitle(source)} (`,
      h('a', {href: `#/jobs/${encodeURIComponent(from)}`}, shortId(from)),
      ').',
    ]);
  const given = Object.fromEntries(
    ['dataset', 'model'].map((name) => [name, query.get(name)]).filter(([, value]) => value),
  );
  await page.choose(type, source?.spec ?? given);
  add(root, await suggestions(signal));
}
