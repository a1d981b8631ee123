// The people of a data set, and erasing one of them; pairs lists, and uploading one. Names, no faces.
import {announce, button, confirm, h, problemBox, replace, table} from './dom.js';
import {erase, getJson, request} from './api.js';
import {count} from './format.js';
import {receiptBox} from './receipt.js';

// ---- people ----

const whatGoes = (person, templates) =>
  templates
    ? `The ${count(person.images)} templates that show this person are erased for good, whoever else is in them, and so are who is in no template then, and the class heads of models that were trained on them. Models keep what they have learnt.`
    : `The ${count(person.images)} images are erased for good, and so are pairs lists that name this person, reports that show faces of the data set and class heads of models that were trained on it. Models keep what they have learnt.`;

async function removePerson(path, person, templates) {
  const sure = await confirm({
    title: `Erase ${person.name}?`,
    action: 'Erase this person',
    danger: true,
    text: whatGoes(person, templates),
    acknowledge: `I want to erase ${person.name}`,
  });
  return sure ? (await erase(`${path}/identities/${encodeURIComponent(person.name)}`)).json() : null;
}

// changed(): what the data set tells has changed. templates: whether the data set holds those.
export async function peopleSection(place, path, changed, templates = false) {
  const rows = h('div');
  const said = h('div');
  replace(place, said, rows);
  const load = async (cursor = null) => {
    const page = await getJson(`${path}/identities`, {query: {cursor}});
    const made = table(
      'People',
      [
        templates ? 'Number' : 'Name',
        {text: templates ? 'Templates' : 'Images', class: 'number'},
        {text: h('span', {class: 'hidden'}, 'Actions'), class: 'number'},
      ],
      page.data.map((person) => [
        h('code', null, person.name),
        count(person.images),
        button('Erase', () => eraseOne(person), {class: 'small warn', 'aria-label': `Erase ${person.name}`}),
      ]),
    );
    const body = cursor && rows.querySelector('tbody');
    if (body) body.append(...made.querySelectorAll('tbody > tr'));
    else replace(rows, made);
    rows.querySelector('.more')?.remove();
    if (page.next) rows.append(button('Show more', () => load(page.next), {class: 'more'}));
  };
  const eraseOne = async (person) => {
    const receipt = await removePerson(path, person, templates);
    if (!receipt) return;
    const box = receiptBox(receipt, 'One person was erased');
    box.tabIndex = -1;
    replace(said, box);
    box.focus();
    announce('One person was erased');
    await load();
    await changed();
  };
  await load();
}

// ---- pairs lists ----

const pairsTable = (pairs) =>
  pairs.length
    ? table(
        'Pairs lists',
        ['Name', {text: 'Pairs', class: 'number'}, {text: 'Folds', class: 'number'}],
        pairs.map(({name, pairs: n, folds}) => [name, count(n), count(folds)]),
      )
    : h('p', {class: 'soft'}, 'None.');

function pairsForm(path, stored) {
  const file = h('input', {
    type: 'file',
    id: 'pairs-file',
    accept: '.txt,.csv,text/plain',
    'aria-describedby': 'pairs-help',
    onchange: () => {
      if (!name.value)
        name.value = (file.files[0]?.name ?? '').replace(/\.[^.]*$/, '').replace(/[^A-Za-z0-9._-]+/g, '-');
    },
  });
  const name = h('input', {type: 'text', id: 'pairs-name', autocomplete: 'off', spellcheck: 'false'});
  const problem = h('div');
  const send = async () => {
    replace(problem);
    if (!file.files[0] || !name.value.trim()) {
      replace(
        problem,
        problemBox({title: 'Something is missing', detail: 'Choose a file, and give the list a name'}),
      );
      (file.files[0] ? name : file).focus();
      return;
    }
    try {
      const body = await file.files[0].text();
      await request('PUT', `${path}/pairs/${encodeURIComponent(name.value.trim())}`, {
        body,
        type: 'text/plain',
      });
      announce(`The pairs list ${name.value.trim()} is stored`);
      file.value = name.value = '';
      await stored();
    } catch (error) {
      replace(problem, problemBox(error));
    }
  };
  return h(
    'form',
    {
      class: 'card',
      novalidate: true,
      onsubmit: (event) => {
        event.preventDefault();
        send();
      },
    },
    h('h3', null, 'Upload a pairs list'),
    h(
      'div',
      {class: 'grid'},
      h(
        'div',
        {class: 'field'},
        h('label', {for: 'pairs-file'}, 'Pairs file'),
        file,
        h(
          'p',
          {class: 'help', id: 'pairs-help'},
          'The format of LFW’s pairs.txt; the people in it must be in this data set. A list of the same name is replaced',
        ),
      ),
      h('div', {class: 'field'}, h('label', {for: 'pairs-name'}, 'Name of the list'), name),
    ),
    problem,
    h('div', {class: 'actions'}, h('button', {type: 'submit', class: 'primary'}, 'Upload the list')),
  );
}

// form: whether lists can be uploaded now.
export async function pairsSection(place, path, form) {
  const rows = h('div');
  const load = async () => replace(rows, pairsTable((await getJson(`${path}/pairs`)).data));
  replace(place, rows, form ? pairsForm(path, load) : null);
  await load();
  return load;
}
