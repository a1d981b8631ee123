// Data sets: uploading with progress, what became of them, what was rejected, erasure. No faces are shown here, or anywhere.
import {add, announce, button, confirm, facts, h, heading, problemBox, replace, table, tell} from './dom.js';
import {erase, getJson, list, repeat, upload} from './api.js';
import {bytes, count, percent, when} from './format.js';
import {pairsSection, peopleSection} from './people.js';

const TYPES = [
  [/\.tar$/i, 'application/x-tar'],
  [/\.(tar\.gz|tgz|gz)$/i, 'application/gzip'],
  [/\.zip$/i, 'application/zip'],
  [/\.templates$/i, 'application/vnd.guise.templates'],
];
const typeOf = (name) => TYPES.find(([pattern]) => pattern.test(name))?.[1] ?? null;

// "My faces.tar.gz" -> "My-faces"
const nameOf = (file) =>
  file
    .replace(/\.(tar\.gz|tgz|tar|gz|zip|templates)$/i, '')
    .replace(/[^A-Za-z0-9._-]+/g, '-')
    .replace(/^[^A-Za-z0-9]+/, '');

const badge = ({state}) =>
  h('span', {class: `badge ${{ready: 'succeeded', failed: 'failed'}[state] ?? 'running'}`}, state);
const path = (id) => `v1/datasets/${encodeURIComponent(id)}`;
const link = (dataset) => h('a', {href: `#/datasets/${encodeURIComponent(dataset.id)}`}, dataset.name);
// Of templates people are numbers here, and there are no pictures: no pairs, no rejected files.
const isTemplates = (dataset) => dataset.kind === 'templates';

const whatGoes = (dataset) =>
  isTemplates(dataset)
    ? `The ${count(dataset.images)} templates of ${count(dataset.identities)} people are erased for good, and so are class heads of models that were trained on them. Models keep what they have learnt.`
    : `The ${count(dataset.images)} images of ${count(dataset.identities)} people, the list of rejected files and the pairs lists are erased for good, and so are reports that show them and class heads of models that were trained on them. Models keep what they have learnt.`;

async function remove(dataset) {
  if (
    !(await confirm({
      title: `Erase ${dataset.name}?`,
      action: 'Erase it',
      danger: true,
      text: whatGoes(dataset),
      acknowledge: `I want to erase ${dataset.name}`,
    }))
  )
    return false;
  await erase(path(dataset.id));
  announce(`${dataset.name} was erased`);
  return true;
}

// ---- upload ----

class Upload {
  constructor(done) {
    this.done = done;
    this.file = h('input', {
      type: 'file',
      id: 'file',
      accept: '.tar,.gz,.tgz,.zip,.templates',
      required: true,
      'aria-describedby': 'file-help file-error',
      onchange: () => this.chosen(),
    });
    this.name = h('input', {
      type: 'text',
      id: 'name',
      autocomplete: 'off',
      spellcheck: 'false',
      'aria-describedby': 'name-error',
    });
    this.size = h('input', {
      type: 'text',
      id: 'size',
      class: 'short',
      inputmode: 'numeric',
      placeholder: '112',
      'aria-describedby': 'size-help size-error',
    });
    this.errors = Object.fromEntries(
      ['file', 'name', 'size'].map((id) => [id, h('p', {class: 'error', id: `${id}-error`, hidden: true})]),
    );
    this.bar = h('progress', {max: 1, value: 0, 'aria-label': 'Upload', hidden: true});
    this.state = h('p', {class: 'soft'});
    this.stop = h(
      'button',
      {type: 'button', hidden: true, onclick: () => this.abort?.abort()},
      'Stop the upload',
    );
    this.go = h('button', {type: 'submit', class: 'primary'}, 'Upload');
    this.problem = h('div');
    const field = (input, text, help) =>
      h(
        'div',
        {class: 'field'},
        h('label', {for: input.id}, text),
        input,
        help ? h('p', {class: 'help', id: `${input.id}-help`}, help) : null,
        this.errors[input.id],
      );
    this.element = h(
      'form',
      {
        class: 'card',
        novalidate: true,
        onsubmit: (event) => {
          event.preventDefault();
          this.send();
        },
      },
      h('h2', null, 'Upload a data set'),
      h(
        'div',
        {class: 'grid'},
        field(
          this.file,
          'Archive',
          'A tar, tar.gz or zip of IDENTITY/IMAGE: one folder a person, aligned face crops as JPEG, PNG, PGM or PPM. Or a file of templates that guise mask made (.templates)',
        ),
        field(this.name, 'Name', null),
        field(
          this.size,
          'Size in pixels',
          'Side of the stored images: 16 to 224, a multiple of 8; not for templates',
        ),
      ),
      this.problem,
      this.bar,
      this.state,
      h('div', {class: 'actions'}, this.go, this.stop),
    );
  }

  chosen() {
    const file = this.file.files[0];
    if (file && !this.name.value) this.name.value = nameOf(file.name);
  }

  show(id, message) {
    this.errors[id].hidden = !message;
    this.errors[id].textContent = message ?? '';
    if (message) this[id].setAttribute('aria-invalid', 'true');
    else this[id].removeAttribute('aria-invalid');
  }

  // Where the daemon's answer belongs.
  place(error) {
    for (const {pointer, detail} of error.errors ?? []) if (pointer === '?size') this.show('size', detail);
    if (error.errors?.some(({pointer}) => pointer === '?size')) this.size.focus();
    else if (error.status === 409 || (error.status === 422 && /name/.test(error.detail))) {
      this.show('name', error.detail);
      this.name.focus();
    } else replace(this.problem, problemBox(error));
  }

  async send() {
    const file = this.file.files[0];
    for (const id of Object.keys(this.errors)) this.show(id, null);
    replace(this.problem);
    if (!file || !typeOf(file.name))
      this.show(
        'file',
        file ? 'The name must end in .tar, .tar.gz, .tgz, .zip or .templates' : 'Choose an archive',
      );
    if (!this.name.value.trim()) this.show('name', 'Give it a name');
    const wrong = Object.keys(this.errors).find((id) => !this.errors[id].hidden);
    if (wrong) {
      this[wrong].focus();
      return;
    }
    this.abort = new AbortController();
    this.busy(true);
    try {
      await getJson('v1/datasets', {query: {limit: 1}}); // asks for a token, if need be, before all is sent
      const dataset = await upload(path(this.name.value.trim()), {
        query: {size: this.size.value.trim()},
        file,
        type: typeOf(file.name),
        signal: this.abort.signal,
        progress: (fraction) => this.progress(fraction, file.size),
      });
      this.state.textContent = `${dataset.name} is uploaded; guised reads it now.`;
      announce(this.state.textContent);
      this.file.value = this.name.value = '';
      this.done();
    } catch (error) {
      this.state.textContent = error.name === 'AbortError' ? 'The upload was stopped; nothing was kept.' : '';
      if (error.name !== 'AbortError') this.place(error);
    } finally {
      this.busy(false);
    }
  }

  progress(fraction, size) {
    this.bar.value = fraction;
    this.state.textContent =
      fraction < 1 ? `${percent(fraction, 0)} of ${bytes(size)}` : 'All is sent; waiting for the answer';
  }

  busy(on) {
    this.bar.hidden = this.stop.hidden = !on;
    this.go.disabled = on;
  }
}

// ---- the list ----

function rows(datasets, again) {
  return datasets.map((dataset) => [
    link(dataset),
    badge(dataset),
    count(dataset.identities),
    count(dataset.images),
    count(dataset.rejected),
    bytes(dataset.bytes),
    when(dataset.created_at),
    button(
      'Erase',
      async () => {
        if (await remove(dataset)) again();
      },
      {class: 'small warn', 'aria-label': `Erase ${dataset.name}`},
    ),
  ]);
}

const COLUMNS = [
  'Name',
  'State',
  {text: 'People', class: 'number'},
  {text: 'Images', class: 'number'},
  {text: 'Rejected', class: 'number wide'},
  {text: 'Bytes', class: 'number wide'},
  {text: 'Uploaded', class: 'wide'},
  {text: h('span', {class: 'hidden'}, 'Actions'), class: 'number'},
];

export async function datasetsPage(root, {signal}) {
  const place = h('div');
  let shown = '';
  const load = async () => {
    const datasets = await list('v1/datasets', {signal});
    const now = JSON.stringify(datasets);
    if (now !== shown) {
      // a table that did not change keeps its focus
      replace(
        place,
        datasets.length
          ? table(
              'Data sets',
              COLUMNS,
              rows(datasets, () => load().catch(tell)),
            )
          : h('p', {class: 'empty'}, 'There are no data sets yet.'),
      );
      shown = now;
    }
    return datasets;
  };
  add(root, [heading('Data sets'), place, new Upload(() => load().catch(tell)).element]);
  await repeat(load, (datasets) => (datasets.some(({state}) => state === 'ingesting') ? 1000 : 5000), signal);
}

// ---- one data set ----

async function rejects(dataset, place, cursor = null) {
  const page = await getJson(`${path(dataset.id)}/rejects`, {query: {cursor}});
  const body = place.querySelector('tbody');
  const cells = page.data.map(({path: file, code, detail}) => [h('code', null, file), code, detail]);
  const made = table('Rejected files', ['File', 'Reason', 'What is wrong'], cells);
  if (body) body.append(...made.querySelectorAll('tbody > tr'));
  else replace(place, page.data.length ? made : h('p', {class: 'soft'}, 'None.'));
  place.querySelector('.more')?.remove();
  if (page.next) place.append(button('Show more', () => rejects(dataset, place, page.next), {class: 'more'}));
}

function about(dataset) {
  return facts([
    ['Id', h('code', null, dataset.id)],
    ['People', count(dataset.identities)],
    [isTemplates(dataset) ? 'Templates, masked by their owner' : 'Images', count(dataset.images)],
    ['Rejected files', isTemplates(dataset) ? null : count(dataset.rejected)],
    [
      isTemplates(dataset) ? 'Made of faces of' : 'Stored size',
      `${dataset.size} × ${dataset.size} pixels, ${bytes(dataset.bytes)}`,
    ],
    ['Uploaded', when(dataset.created_at)],
    ['SHA-256 of the upload', dataset.sha256 ? h('code', null, dataset.sha256) : null],
    ['Owner', dataset.owner],
  ]);
}

// What guised knows of faces beyond their number: people, pairs lists, rejected files.
async function facesSections(place, dataset, changed) {
  const rejected = h('div');
  const people = h('div', null, h('p', {class: 'soft'}, 'None.'));
  const pairs = h('div');
  const ready = dataset.state === 'ready';
  replace(
    place,
    h('h2', null, 'People'),
    people,
    h('h2', null, 'Pairs lists'),
    pairs,
    h('h2', null, 'Rejected files'),
    rejected,
  );
  const loadPairs = await pairsSection(pairs, path(dataset.id), ready);
  await rejects(dataset, rejected);
  if (ready)
    await peopleSection(people, path(dataset.id), async () => {
      await loadPairs();
      await changed();
    });
}

async function templatesSections(place, dataset, changed) {
  const people = h('div');
  replace(
    place,
    h('h2', null, 'People'),
    h(
      'p',
      null,
      'They are numbers here: who they are is known to whoever masked them, and so is what was left out. Most templates show several people, and whatever shows a person goes with that person. Pairs lists are of pictures.',
    ),
    people,
  );
  if (dataset.state === 'ready') await peopleSection(people, path(dataset.id), changed, true);
}

export async function datasetPage(root, {id, signal}) {
  const state = h('span');
  const head = h('div', {class: 'card'});
  const title = heading('Data set');
  const sections = h('div');
  const actions = h('div', {class: 'actions'});
  add(root, [
    h('p', {class: 'crumbs'}, h('a', {href: '#/datasets'}, 'Data sets')),
    h('div', {class: 'title'}, title, state, h('span', {class: 'space'}), actions),
    head,
    sections,
  ]);
  const dataset = await repeatUntilRead();
  if (!dataset) return;
  title.textContent = dataset.name;
  document.title = `${dataset.name} · guise`;
  replace(
    actions,
    dataset.state === 'ready'
      ? h('a', {class: 'button', href: `#/new?dataset=${encodeURIComponent(dataset.name)}`}, 'Train on it')
      : null,
    button(
      'Erase',
      async () => {
        if (await remove(dataset)) location.hash = '#/datasets';
      },
      {class: 'warn'},
    ),
  );
  const fill = isTemplates(dataset) ? templatesSections : facesSections;
  await fill(sections, dataset, async () => {
    Object.assign(dataset, await getJson(path(id), {signal})); // the erasure's question, too, counts what is left
    replace(head, about(dataset));
  });

  async function repeatUntilRead() {
    let dataset = null;
    await repeat(
      async () => {
        dataset = await getJson(path(id), {signal});
        replace(state, badge(dataset));
        replace(
          head,
          dataset.error
            ? problemBox({
                title: dataset.state === 'failed' ? 'It could not be read' : 'It is tried again',
                detail: dataset.error,
              })
            : null,
          about(dataset),
        );
        return dataset;
      },
      (now) => (now.state === 'ingesting' ? 1000 : null),
      signal,
    );
    return signal.aborted ? null : dataset;
  }
}
