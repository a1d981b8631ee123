// A form from fields (schema.js). It checks nothing: the daemon does, and says all that is wrong at once; show() puts each
// mistake at its field. What is left empty is not sent, so that the daemon's defaults hold.
import {h, newId, replace} from './dom.js';
import {sentence, words} from './format.js';
import {leaves, rangeOf, setAt, valueAt} from './schema.js';

const text = (value) =>
  value === null ? 'none' : value === true ? 'yes' : value === false ? 'no' : String(value);

// A number when it is one, else what was typed: the daemon says what is wrong with it.
function numberOf(typed) {
  const value = Number(typed);
  return typed.trim() !== '' && Number.isFinite(value) ? value : typed;
}

// ---- widgets: {element, input, get() -> value or undefined, set(value)} ----

function entry(field, attributes = {}) {
  const fallback = field.schema.default;
  const input = h('input', {
    type: 'text',
    id: newId('field'),
    autocomplete: 'off',
    spellcheck: 'false',
    ...attributes,
    placeholder: fallback !== undefined && fallback !== null ? text(fallback) : '',
  });
  return {element: input, input};
}

function numberWidget(field) {
  const {element, input} = entry(field, {inputmode: 'decimal', class: 'short'});
  return {
    element,
    input,
    get: () => (input.value.trim() === '' ? undefined : numberOf(input.value)),
    set: (value) => {
      input.value = value ?? '';
    },
  };
}

function textWidget(field) {
  const {element, input} = entry(field, {list: field.list ? `list-${field.list}` : null});
  return {
    element,
    input,
    get: () => input.value.trim() || undefined,
    set: (value) => {
      input.value = value ?? '';
    },
  };
}

function selectWidget(field, values) {
  const fallback = field.schema.default;
  const input = h(
    'select',
    {id: newId('field')},
    h('option', {value: ''}, fallback === undefined ? 'Default' : `Default (${text(fallback)})`),
    values.map((value) => h('option', {value: JSON.stringify(value)}, text(value))),
  );
  return {
    element: input,
    input,
    get: () => (input.value === '' ? undefined : JSON.parse(input.value)),
    set: (value) => {
      input.value = value === undefined ? '' : JSON.stringify(value);
    },
  };
}

function choicesWidget(field) {
  const own = h('input', {type: 'checkbox', id: newId('field'), onchange: () => update()});
  const boxes = field.choices.map((value) => ({value, box: h('input', {type: 'checkbox', disabled: true})}));
  const update = () =>
    boxes.forEach(({box}) => {
      box.disabled = !own.checked;
    });
  const element = h(
    'div',
    {class: 'choices', role: 'group', 'aria-label': words(field.name)},
    h('label', {class: 'check'}, own, 'Choose'),
    boxes.map(({value, box}) => h('label', {class: 'check'}, box, text(value))),
  );
  return {
    element,
    input: own,
    get: () => (own.checked ? boxes.filter(({box}) => box.checked).map(({value}) => value) : undefined),
    set: (values) => {
      own.checked = Array.isArray(values);
      boxes.forEach(({value, box}) => {
        box.checked = values?.includes(value) ?? false;
      });
      update();
    },
  };
}

// Objects told apart by a constant of theirs: each can be ticked, and has fields of its own.
function variantsWidget(field) {
  const variants = field.variants.map(({key, name, description, fields}) => {
    const tick = h('input', {
      type: 'checkbox',
      id: newId('field'),
      onchange: () => {
        inner.hidden = !tick.checked;
      },
    });
    const own = fields.map((one) => new Field(one));
    const inner = h(
      'div',
      {class: 'grid inner', hidden: true},
      own.map(({element}) => element),
    );
    return {
      key,
      name,
      tick,
      inner,
      own,
      element: h(
        'div',
        null,
        h('label', {class: 'check'}, tick, name),
        description ? h('p', {class: 'help'}, description) : null,
        inner,
      ),
    };
  });
  const get = () =>
    variants
      .filter(({tick}) => tick.checked)
      .map(({key, name, own}) => ({
        [key]: name,
        ...Object.fromEntries(
          own.map((one) => [one.field.name, one.get()]).filter(([, value]) => value !== undefined),
        ),
      }));
  return {
    element: h(
      'div',
      {class: 'choices', role: 'group', 'aria-label': words(field.name)},
      variants.map(({element}) => element),
    ),
    input: variants[0].tick,
    get: () => (get().length ? get() : undefined),
    set: (values) => {
      for (const {key, name, tick, inner, own} of variants) {
        const value = values?.find((one) => one[key] === name);
        tick.checked = value !== undefined;
        inner.hidden = !tick.checked;
        for (const one of own) one.set(value?.[one.field.name]);
      }
    },
  };
}

function areaWidget(hint) {
  const input = h('textarea', {id: newId('field'), rows: 2, spellcheck: 'false', placeholder: hint});
  return {element: input, input};
}

function mapWidget(field) {
  const {element, input} = areaWidget('name = value');
  return {
    element,
    input,
    set: (value) => {
      input.value = Object.entries(value ?? {})
        .map(([name, v]) => `${name} = ${v}`)
        .join('\n');
    },
    get: () => {
      const pairs = input.value
        .split('\n')
        .filter((line) => line.trim())
        .map((line) => {
          const at = line.includes('=') ? line.indexOf('=') : line.length;
          const value = line.slice(at + 1).trim();
          return [line.slice(0, at).trim(), field.numbers ? numberOf(value) : value];
        });
      return pairs.length ? Object.fromEntries(pairs) : undefined;
    },
  };
}

function jsonWidget() {
  const {element, input} = areaWidget('JSON');
  return {
    element,
    input,
    set: (value) => {
      input.value = value === undefined ? '' : JSON.stringify(value);
    },
    get: () => {
      try {
        return input.value.trim() === '' ? undefined : JSON.parse(input.value);
      } catch {
        return input.value;
      }
    },
  };
}

const widgets = {
  number: numberWidget,
  text: textWidget,
  map: mapWidget,
  json: jsonWidget,
  choices: choicesWidget,
  enum: (field) => selectWidget(field, field.schema.enum),
  boolean: (field) => selectWidget(field, [true, false]),
  variants: variantsWidget,
  const: (field) => ({element: null, input: null, get: () => field.schema.const, set: () => {}}),
};

// ---- fields ----

class Field {
  constructor(field) {
    this.field = field;
    this.widget = widgets[field.kind](field);
    if (!this.widget.input) return;
    const help = sentence([field.description, rangeOf(field.schema)].filter(Boolean).join('; '));
    this.help = h('p', {class: 'help', id: newId('help')}, help);
    this.error = h('p', {class: 'error', id: newId('error'), hidden: true});
    this.widget.input.setAttribute(
      'aria-describedby',
      help ? `${this.help.id} ${this.error.id}` : this.error.id,
    );
    if (field.required) this.widget.input.setAttribute('aria-required', 'true');
    this.element = h(
      'div',
      {class: 'field'},
      h(
        'label',
        {for: this.widget.input.id, title: field.pointer},
        words(field.name),
        field.required ? h('span', {class: 'soft'}, ' (needed)') : null,
      ),
      this.widget.element,
      help ? this.help : null,
      this.error,
    );
  }

  get() {
    return this.widget.get();
  }

  // A default that the schema names is left empty: the form then shows what is out of the ordinary.
  set(value) {
    const {schema} = this.field;
    const plain =
      value === undefined ||
      (value === null && !schema.enum?.includes(null)) ||
      JSON.stringify(value) === JSON.stringify(schema.default);
    this.widget.set(plain ? undefined : value);
  }

  show(messages) {
    if (!this.error) return;
    this.error.hidden = messages.length === 0;
    replace(this.error, messages.join(' '));
    if (messages.length) this.widget.input.setAttribute('aria-invalid', 'true');
    else this.widget.input.removeAttribute('aria-invalid');
  }
}

export class Form {
  // root: a group. first: pointers of the fields that stand on top; the rest is folded up, by the groups of the schema.
  constructor(root, first, onchange) {
    this.fields = new Map(leaves(root).map((field) => [field.pointer, new Field(field)]));
    this.folds = new Map();
    const top = first.filter((pointer) => this.fields.get(pointer)?.element);
    for (const pointer of top) this.label(pointer, pointer.split('/').slice(1));
    this.element = h(
      'div',
      {
        class: 'fields',
        oninput: () => {
          this.count();
          onchange();
        },
      },
      h(
        'div',
        {class: 'grid'},
        top.map((pointer) => this.fields.get(pointer).element),
      ),
      this.rest(root, new Set(top)),
    );
    this.count();
  }

  rest(root, used) {
    const groups = root.fields.filter(({kind}) => kind === 'group');
    const single = root.fields.filter(
      ({kind, pointer}) => kind !== 'group' && !used.has(pointer) && this.fields.get(pointer).element,
    );
    const folds = groups.map((group) =>
      this.fold(
        words(group.name),
        leaves(group).filter(({pointer}) => !used.has(pointer)),
        group,
      ),
    );
    return [folds, single.length ? this.fold('Queue and labels', single, null) : null];
  }

  fold(title, fields, group) {
    const note = h('span', {class: 'soft'});
    for (const {pointer} of fields)
      this.label(pointer, pointer.slice((group?.pointer.length ?? 0) + 1).split('/'));
    const element = h(
      'details',
      {class: 'fold'},
      h('summary', null, title, ' ', note),
      group?.description ? h('p', {class: 'soft'}, group.description) : null,
      h(
        'div',
        {class: 'grid'},
        fields.map(({pointer}) => this.fields.get(pointer).element),
      ),
    );
    this.folds.set(element, {note, pointers: fields.map(({pointer}) => pointer)});
    return element;
  }

  // What a field is called where it stands: ["mask", "drop_low"] -> "Mask drop low".
  label(pointer, keys) {
    const {element} = this.fields.get(pointer);
    if (element) element.querySelector('label').firstChild.textContent = words(keys.join(' '));
  }

  count() {
    for (const {note, pointers} of this.folds.values()) {
      const set = pointers.filter((pointer) => this.fields.get(pointer).get() !== undefined).length;
      note.textContent = set ? `${set} set` : '';
    }
  }

  // The job as it stands in the form.
  value() {
    const body = {};
    for (const [pointer, field] of this.fields) {
      const content = field.get();
      if (content !== undefined) setAt(body, pointer, content);
    }
    return body;
  }

  // Fills the form from a specification.
  fill(spec) {
    for (const [pointer, field] of this.fields) field.set(valueAt(spec, pointer));
    this.count();
  }

  // Mistakes [{pointer, detail}] at their fields; returns [{label, detail, go}] for a summary.
  show(errors) {
    const at = new Map([...this.fields.keys()].map((pointer) => [pointer, []]));
    const summary = errors.map(({pointer, detail}) => {
      const found =
        [...at.keys()]
          .filter((one) => pointer === one || pointer.startsWith(`${one}/`))
          .sort((a, b) => b.length - a.length)[0] ??
        [...at.keys()].find((one) => one.startsWith(`${pointer}/`) && this.fields.get(one).element);
      at.get(found)?.push(`${detail}.`);
      return {
        label: pointer,
        detail,
        go: found && this.fields.get(found).element ? () => this.focus(found) : null,
      };
    });
    for (const [pointer, messages] of at) this.fields.get(pointer).show(messages);
    for (const [element, {pointers}] of this.folds)
      if (pointers.some((pointer) => at.get(pointer).length)) element.open = true;
    return summary;
  }

  focus(pointer) {
    const {element, widget} = this.fields.get(pointer);
    const fold = element.closest('details');
    if (fold) fold.open = true;
    widget.input.focus();
  }
}
