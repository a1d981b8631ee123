// What takes the scope admin: tokens, and the audit trail.
import {add, announce, button, confirm, h, heading, problemBox, replace, table} from './dom.js';
import {erase, getJson, list, postJson} from './api.js';
import {when} from './format.js';
import {receiptView} from './receipt.js';

// ---- tokens ----

const stateOf = (token) =>
  token.revoked_at
    ? h('span', {class: 'badge failed'}, 'revoked')
    : token.expires_at && Date.parse(token.expires_at) < Date.now()
      ? h('span', {class: 'badge failed'}, 'expired')
      : h('span', {class: 'badge succeeded'}, 'valid');

async function revoke(token, again) {
  const sure = await confirm({
    title: `Revoke ${token.name}?`,
    action: 'Revoke it',
    danger: true,
    text: `Whoever uses this token of ${token.owner} is not let in any more. It stays in the list.`,
  });
  if (!sure) return;
  await erase(`v1/tokens/${encodeURIComponent(token.id)}`);
  announce(`${token.name} was revoked`);
  await again();
}

const tokenTable = (tokens, again) =>
  table(
    'Tokens',
    [
      'Name',
      'State',
      {text: 'Owner', class: 'wide'},
      'Scopes',
      {text: 'Made', class: 'wide'},
      {text: 'Expires', class: 'wide'},
      {text: h('span', {class: 'hidden'}, 'Actions'), class: 'number'},
    ],
    tokens.map((token) => [
      h('div', null, token.name, h('div', {class: 'soft'}, h('code', null, token.id))),
      stateOf(token),
      token.owner,
      token.scopes.join(' '),
      when(token.created_at),
      token.expires_at ? when(token.expires_at) : 'never',
      token.revoked_at
        ? null
        : button('Revoke', () => revoke(token, again), {
            class: 'small warn',
            'aria-label': `Revoke ${token.name}`,
          }),
    ]),
  );

// The only time that it is seen.
function secret(token) {
  const text = h('input', {
    type: 'text',
    id: 'secret',
    readonly: true,
    spellcheck: 'false',
    value: token.token,
    onfocus: () => text.select(),
  });
  const box = h(
    'section',
    {class: 'box', tabindex: -1},
    h('strong', null, `The token ${token.name} was made`),
    h('p', null, 'Copy it now: it is not shown again, and guised keeps no more than its hash.'),
    h('div', {class: 'field'}, h('label', {for: 'secret'}, 'New token'), text),
  );
  return {box, text};
}

function tokenForm(scopes, made) {
  const field = (input, label, help) =>
    h(
      'div',
      {class: 'field'},
      h('label', {for: input.id}, label),
      input,
      help ? h('p', {class: 'help', id: `${input.id}-help`}, help) : null,
    );
  const text = (id, help) =>
    h('input', {
      type: 'text',
      id,
      autocomplete: 'off',
      spellcheck: 'false',
      'aria-describedby': help ? `${id}-help` : null,
    });
  const name = text('token-name');
  const owner = text('token-owner', true);
  const expires = h('input', {type: 'date', id: 'token-expires', 'aria-describedby': 'token-expires-help'});
  const never = h('input', {type: 'checkbox', id: 'token-never'});
  const boxes = scopes.map((scope) => h('input', {type: 'checkbox', value: scope}));
  const problem = h('div');
  const send = async () => {
    replace(problem);
    const token = {
      name: name.value.trim(),
      scopes: boxes.filter((box) => box.checked).map((box) => box.value),
    };
    if (owner.value.trim()) token.owner = owner.value.trim();
    if (never.checked) token.expires_at = null;
    else if (expires.value) token.expires_at = `${expires.value}T00:00:00Z`;
    try {
      const answer = await postJson('v1/tokens', token);
      name.value = owner.value = expires.value = '';
      for (const box of [...boxes, never]) box.checked = false;
      await made(answer);
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
    h('h2', null, 'Make a token'),
    h(
      'div',
      {class: 'grid'},
      field(name, 'Name', null),
      field(owner, 'Owner', 'Whose objects it makes and sees; empty: the name'),
      field(expires, 'Valid until', 'Empty: for a year'),
    ),
    h('label', {class: 'check'}, never, h('span', null, 'It never expires')),
    h(
      'fieldset',
      null,
      h('legend', null, 'Scopes'),
      boxes.map((box) => h('label', {class: 'check'}, box, h('span', null, box.value))),
    ),
    problem,
    h('div', {class: 'actions'}, h('button', {type: 'submit', class: 'primary'}, 'Make it')),
  );
}

export async function tokensPage(root, {signal}) {
  const rows = h('div');
  const said = h('div');
  add(root, [heading('Tokens'), said, rows]);
  const load = async () => {
    const tokens = await list('v1/tokens', {signal});
    replace(
      rows,
      tokens.length ? tokenTable(tokens, load) : h('p', {class: 'empty'}, 'There are no tokens yet.'),
    );
  };
  await load();
  const {components} = await getJson('openapi.json', {signal});
  root.append(
    tokenForm(components.schemas.Scope.enum, async (token) => {
      const {box, text} = secret(token);
      replace(said, box);
      announce(`The token ${token.name} was made`);
      await load();
      text.focus();
    }),
  );
}

// ---- audit trail ----

const records = (data) =>
  table(
    'Audit trail, newest first',
    [
      'When',
      'Who',
      'What',
      {text: 'Object', class: 'wide'},
      'File',
      {text: 'Status', class: 'number'},
      'Receipt',
    ],
    data.map(({at, actor, action, object, file, status, receipt}) => [
      when(at),
      h('code', null, actor),
      action,
      object ? h('code', null, object) : null,
      file,
      String(status),
      receipt
        ? h(
            'details',
            null,
            h('summary', null, 'Show'),
            receipt.kind === 'cancel'
              ? h(
                  'p',
                  null,
                  receipt.jobs.map(({id}) => h('div', null, h('code', null, id))),
                )
              : receiptView(receipt),
          )
        : null,
    ]),
  );

export async function auditPage(root, {signal, query}) {
  const place = h('div');
  const input = (id) =>
    h('input', {type: 'text', id, autocomplete: 'off', spellcheck: 'false', value: query.get(id) ?? ''});
  const actor = input('actor');
  const object = input('object');
  let asked = {}; // what "Show more" goes on with, whatever stands in the fields by then
  const load = async (cursor = null) => {
    if (!cursor) asked = {actor: actor.value.trim(), object: object.value.trim()};
    const page = await getJson('v1/audit', {
      query: {...asked, cursor},
      signal,
    });
    const body = cursor && place.querySelector('tbody');
    if (body) body.append(...records(page.data).querySelectorAll('tbody > tr'));
    else
      replace(
        place,
        page.data.length ? records(page.data) : h('p', {class: 'empty'}, 'Nothing is recorded.'),
      );
    place.querySelector('.more')?.remove();
    if (page.next) place.append(button('Show more', () => load(page.next), {class: 'more'}));
  };
  add(root, [
    heading('Audit trail'),
    h(
      'form',
      {
        class: 'card',
        onsubmit: (event) => {
          event.preventDefault();
          load().catch((error) => replace(place, problemBox(error)));
        },
      },
      h(
        'div',
        {class: 'grid'},
        h(
          'div',
          {class: 'field'},
          h('label', {for: 'actor'}, 'Who (a token’s id, uid:N or loopback)'),
          actor,
        ),
        h(
          'div',
          {class: 'field'},
          h('label', {for: 'object'}, 'Id of a data set, job, model or token'),
          object,
        ),
      ),
      h('div', {class: 'actions'}, h('button', {type: 'submit', class: 'primary'}, 'Find')),
    ),
    place,
  ]);
  await load();
}
