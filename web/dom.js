// Elements, dialogs and messages. Text reaches the page as text nodes and attributes only: nothing is parsed as markup
// (the policy of the page forbids it as well).

// h('a', {class: 'x', href: '#/', onclick: f}, 'text', child, null): attributes of null or false are left out, true is empty.
export function h(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else if (name === 'value' || name === 'checked' || name === 'disabled') element[name] = value;
    else if (value !== null && value !== undefined && value !== false)
      element.setAttribute(name, value === true ? '' : value);
  }
  add(element, children);
  return element;
}

export function add(element, children) {
  for (const child of children.flat(Infinity))
    if (child !== null && child !== undefined && child !== false) element.append(child);
  return element;
}

export function replace(element, ...children) {
  element.replaceChildren();
  return add(element, children);
}

// Sets text only when it changed, so that what is selected or read out stays.
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

let ids = 0;
export const newId = (prefix) => `${prefix}-${++ids}`;

// Says something to those who do not see the page.
export function announce(text) {
  document.getElementById('announcer').textContent = text;
}

export const heading = (text, ...more) => h('h1', {tabindex: -1}, text, more);

// {name: value} as a list of terms; values may be elements.
export function facts(entries) {
  return h(
    'dl',
    {class: 'facts'},
    entries
      .filter((entry) => entry && entry[1] !== null && entry[1] !== undefined)
      .map(([name, value]) => h('div', null, h('dt', null, name), h('dd', null, value))),
  );
}

// columns: ['Name', ...] or {text, class}; rows: arrays of cells, or arrays with .key. A table that is wider than the page
// scrolls in its own box, which can be reached by keyboard.
export function table(caption, columns, rows) {
  const head = columns.map((column) => h('th', {scope: 'col', class: column.class}, column.text ?? column));
  const body = rows.map((cells) =>
    h(
      'tr',
      null,
      cells.map((cell, i) => h('td', {class: columns[i].class}, cell)),
    ),
  );
  return h(
    'div',
    {class: 'scroll', tabindex: 0, role: 'region', 'aria-label': caption},
    h(
      'table',
      null,
      h('caption', {class: 'hidden'}, caption),
      h('thead', null, h('tr', null, head)),
      h('tbody', null, body),
    ),
  );
}

// What went wrong, with what to do; error is a Problem or an Error.
export function problemBox(error) {
  const errors = error.errors ?? [];
  return h(
    'div',
    {class: 'box bad', role: 'alert'},
    h('strong', null, error.title ?? 'Something went wrong'),
    h('p', null, error.detail ?? error.message),
    errors.length
      ? h(
          'ul',
          null,
          errors.map((e) => h('li', null, h('code', null, e.pointer), ` ${e.detail}`)),
        )
      : null,
  );
}

// Runs an action of a button: not twice at once, and what goes wrong stands beside it.
export function button(text, action, attributes = {}) {
  const element = h(
    'button',
    {
      type: 'button',
      ...attributes,
      onclick: async () => {
        if (element.getAttribute('aria-disabled') === 'true') return;
        element.setAttribute('aria-disabled', 'true');
        try {
          await action();
        } catch (error) {
          if (error.name !== 'AbortError') await tell(error);
        } finally {
          element.removeAttribute('aria-disabled');
        }
      },
    },
    text,
  );
  return element;
}

// ---- dialogs ----

function show(dialog, focus) {
  document.body.append(dialog);
  dialog.showModal();
  focus?.focus();
  return new Promise((resolve) => {
    dialog.addEventListener('close', () => {
      dialog.remove();
      resolve(dialog.returnValue);
    });
  });
}

function dialogOf(title, ...children) {
  const id = newId('dialog');
  return h('dialog', {'aria-labelledby': id}, h('h2', {id}, title), children);
}

export function tell(error) {
  const dialog = dialogOf(error.title ?? 'Something went wrong', h('p', null, error.detail ?? error.message));
  const close = h('button', {type: 'button', class: 'primary', onclick: () => dialog.close()}, 'Close');
  add(dialog, [h('div', {class: 'actions'}, close)]);
  return show(dialog, close);
}

// Whether to do it. acknowledge: a sentence that has to be ticked first.
export async function confirm({title, text, action, danger = false, acknowledge = null}) {
  const dialog = dialogOf(title, h('p', null, text));
  const go = h(
    'button',
    {
      type: 'button',
      class: danger ? 'danger' : 'primary',
      disabled: acknowledge !== null,
      onclick: () => dialog.close('yes'),
    },
    action,
  );
  const stop = h('button', {type: 'button', onclick: () => dialog.close('')}, 'Go back');
  const tick = h('input', {
    type: 'checkbox',
    onchange: () => {
      go.disabled = !tick.checked;
    },
  });
  if (acknowledge) add(dialog, [h('label', {class: 'check'}, tick, h('span', null, acknowledge))]);
  add(dialog, [h('div', {class: 'actions'}, stop, go)]);
  return (await show(dialog, stop)) === 'yes';
}

// A bearer token from the user; why says what the daemon answered.
export async function askForToken(why) {
  const input = h('input', {
    id: newId('token'),
    type: 'password',
    autocomplete: 'off',
    spellcheck: 'false',
    required: true,
  });
  const dialog = dialogOf(
    'This daemon wants a token',
    h('p', null, why),
    h(
      'p',
      {class: 'soft'},
      'It is kept in this tab until you close it or press “Forget token”, and sent to this daemon only.',
    ),
  );
  add(dialog, [
    h(
      'form',
      {
        onsubmit: (event) => {
          event.preventDefault();
          if (input.value.trim()) dialog.close(input.value.trim());
        },
      },
      h('label', {for: input.id}, 'Token'),
      input,
      h('div', {class: 'actions'}, h('button', {type: 'submit', class: 'primary'}, 'Use this token')),
    ),
  ]);
  dialog.addEventListener('cancel', (event) => event.preventDefault());
  return show(dialog, input);
}
