// Models: what they are good for, what attackers got out of them, and their files.
import {add, announce, button, confirm, facts, h, heading, problemBox, replace, table} from './dom.js';
import {Problem, erase, getJson, list, save, token} from './api.js';
import {bytes, count, percent, shortId, when} from './format.js';
import {reportView, verdictBadge} from './report.js';

const path = (id) => `v1/models/${encodeURIComponent(id)}`;
const verdictOf = (model) => (model.audited ? (model.privacy?.verdict ?? 'not audited') : 'not audited');

// Names of data sets by id; none for a token that may not see them.
async function datasetNames(signal) {
  const datasets = await list('v1/datasets', {signal}).catch(() => []);
  return new Map(datasets.map(({id, name}) => [id, name]));
}

const titleOf = (model, names) =>
  `${model.facts?.mask?.method ?? 'model'} on ${names.get(model.dataset) ?? (model.dataset ? shortId(model.dataset) : 'an erased data set')}`;

// "12.5 %" of templates linked to their person: the figure that decides whether templates protect people.
const linkage = (model) =>
  (model.privacy?.linkage ?? []).map(({surface, mean}) =>
    h('div', null, percent(mean), h('span', {class: 'soft'}, ` (${surface})`)),
  );

export async function modelsPage(root, {signal}) {
  const place = h('div');
  add(root, [heading('Models'), place]);
  const [models, names] = await Promise.all([list('v1/models', {signal}), datasetNames(signal)]);
  if (!models.length) {
    replace(
      place,
      h(
        'p',
        {class: 'empty'},
        'There are no models yet: a training job makes one. ',
        h('a', {href: '#/new'}, 'Submit a job'),
        '.',
      ),
    );
    return;
  }
  const columns = [
    'Model',
    {text: 'Accuracy', class: 'number'},
    'Attacks',
    {text: 'Linked', class: 'number wide'},
    {text: 'Network', class: 'wide'},
    {text: 'Made', class: 'wide'},
  ];
  replace(
    place,
    table(
      'Models, newest first',
      columns,
      models.map((model) => [
        h(
          'div',
          null,
          h('a', {href: `#/models/${encodeURIComponent(model.id)}`}, titleOf(model, names)),
          h('div', {class: 'soft'}, h('code', {title: model.id}, shortId(model.id))),
        ),
        percent(model.accuracy),
        h('span', {title: model.privacy?.reason ?? ''}, verdictBadge(verdictOf(model))),
        linkage(model),
        `${model.facts?.model?.arch ?? ''} ${model.facts?.model?.input ?? ''}`,
        when(model.created_at),
      ]),
    ),
  );
}

// ---- files ----

const ABOUT = {
  'model.safetensors': 'weights and the mask’s constants',
  'report.html': 'the privacy report, a page that needs nothing else',
  'report.json': 'the privacy report for programs',
  'report-private.html': 'the report with faces of the data set; needs a token with the scope models:private',
  'model-head.safetensors':
    'the same with the class head and the names of the people trained on; needs a token with the scope models:head',
  'card.md': 'model card',
  'scores.csv': 'similarity of each verification pair',
  'key.json': 'the key of the templates',
};

// ONNX files by where they begin, which the report tells: not every mask can be a part of the network.
const STARTS = {
  image: 'from RGB pixels to the embedding, the mask inside',
  template: 'from a masked template to the embedding; the mask is not in it',
};
const aboutFile = (name, report) =>
  ABOUT[name] ??
  STARTS[report?.model?.onnx?.find((file) => file.name === name)?.start] ??
  (name.endsWith('.onnx') ? 'the network in ONNX form' : '');

// Files that hold the model's key, when it has one: some networks learn weights in its order.
function holdsKey(model, name) {
  const {facts} = model;
  const learnt = facts?.model?.arch === 'freq_conv' || facts?.mask?.dct === 'upsampled';
  return (
    model.files.some((file) => file.name === 'key.json') &&
    (name === 'key.json' || name.endsWith('.onnx') || (name.endsWith('.safetensors') && learnt))
  );
}

async function download(model, name, unsafe) {
  const query = unsafe ? {unsafe: 'true'} : {};
  if ((name === 'report-private.html' || name === 'model-head.safetensors') && !token())
    throw new Problem(403, {title: 'This file takes a token', detail: ABOUT[name]});
  if (holdsKey(model, name)) {
    if (
      !(await confirm({
        title: `Download ${name}?`,
        action: 'Download it',
        danger: true,
        text: 'It holds the model’s key: whoever has the key undoes what it hides.',
        acknowledge: 'I am meant to have the key',
      }))
    )
      return;
    query.key = 'true';
  }
  await save(`${path(model.id)}/files/${encodeURIComponent(name)}`, query, name);
}

// report: null while it is not known.
function filesTable(model, report, unsafe) {
  return table(
    'Files',
    [
      'File',
      {text: 'Bytes', class: 'number'},
      {text: 'SHA-256', class: 'wide'},
      {text: h('span', {class: 'hidden'}, 'Download'), class: 'number'},
    ],
    model.files.map(({name, size, sha256}) => [
      h('div', null, h('code', null, name), h('div', {class: 'soft'}, aboutFile(name, report))),
      bytes(size),
      h('code', {class: 'hash', title: sha256}, sha256.slice(0, 16)),
      button('Download', () => download(model, name, unsafe), {
        class: 'small',
        'aria-label': `Download ${name}`,
      }),
    ]),
  );
}

// ---- one model ----

// An unaudited model is shown when that was asked for in so many words.
function gate(model, open) {
  const tick = h('input', {
    type: 'checkbox',
    id: 'unsafe',
    onchange: () => {
      go.disabled = !tick.checked;
    },
  });
  const go = h(
    'button',
    {type: 'button', class: 'danger', disabled: true, onclick: open},
    'Show report and files',
  );
  return h(
    'section',
    {class: 'box bad'},
    h('strong', null, 'No attack has been run on this model'),
    h(
      'p',
      null,
      'Nothing is known of what it gives away about the people it was trained on. Audit it first, or take it as it is.',
    ),
    h(
      'label',
      {class: 'check'},
      tick,
      h('span', null, 'I know that this model is not audited, and want it all the same'),
    ),
    h(
      'div',
      {class: 'actions'},
      h(
        'a',
        {class: 'button primary', href: `#/new?type=audit&model=${encodeURIComponent(model.id)}`},
        'Audit it',
      ),
      go,
    ),
  );
}

async function remove(model) {
  if (
    !(await confirm({
      title: 'Delete this model?',
      action: 'Delete it',
      danger: true,
      text: 'The model, its report and all its files are erased for good.',
      acknowledge: `I want to delete ${shortId(model.id)}`,
    }))
  )
    return;
  await erase(path(model.id));
  announce('The model was deleted');
  location.hash = '#/models';
}

export async function modelPage(root, {id, signal}) {
  const [model, names] = await Promise.all([getJson(path(id), {signal}), datasetNames(signal)]);
  const place = h('div');
  const title = titleOf(model, names);
  document.title = `${title} · guise`;
  add(root, [
    h('p', {class: 'crumbs'}, h('a', {href: '#/models'}, 'Models'), ' / ', h('code', null, model.id)),
    h(
      'div',
      {class: 'title'},
      heading(title),
      verdictBadge(verdictOf(model)),
      h('span', {class: 'space'}),
      h(
        'div',
        {class: 'actions'},
        h(
          'a',
          {class: 'button small', href: `#/new?type=audit&model=${encodeURIComponent(id)}`},
          'Audit again',
        ),
        button('Delete', () => remove(model), {class: 'small warn'}),
      ),
    ),
    h(
      'div',
      {class: 'card'},
      facts([
        ['Accuracy', percent(model.accuracy)],
        ['Network', model.facts?.model?.arch],
        ['Input', model.facts?.model?.input ? `${count(model.facts.model.input)} pixels` : null],
        ['Made', when(model.created_at)],
        [
          'Job',
          model.job ? h('a', {href: `#/jobs/${encodeURIComponent(model.job)}`}, shortId(model.job)) : null,
        ],
        ['Owner', model.owner],
      ]),
    ),
    place,
  ]);
  const open = async (unsafe) => {
    replace(place, h('h2', null, 'Files'), filesTable(model, null, unsafe), h('div', {class: 'report'}));
    try {
      const report = await getJson(`${path(id)}/files/report.json`, {
        query: unsafe ? {unsafe: 'true'} : {},
        signal,
      });
      replace(
        place,
        reportView(report, () => download(model, 'report.html', unsafe)),
        h('h2', null, 'Files'),
        filesTable(model, report, unsafe),
      );
    } catch (error) {
      if (!signal.aborted) place.append(problemBox(error));
    }
  };
  if (model.audited) await open(false);
  else
    replace(
      place,
      gate(model, () => open(true)),
    );
}
