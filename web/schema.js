// The fields of a job, read from the daemon's own description (/openapi.json): a value that the daemon learns to take is in
// the form without a change here.
import {getJson} from './api.js';

const REFERENCES = {
  dataset: 'datasets',
  public_dataset: 'datasets',
  reference: 'models',
  embedder: 'models',
  teacher: 'models',
  control: 'models',
  model: 'models',
};

let loaded = null;
const load = () =>
  (loaded ??= getJson('openapi.json').catch((error) => {
    loaded = null;
    throw error;
  }));

// "JobSpec" -> a group of its fields.
export async function jobFields(name) {
  const {components} = await load();
  return group(components.schemas[name], '', name, components.schemas);
}

function resolve(schema, schemas) {
  const {$ref, ...rest} = schema;
  return $ref ? {...schemas[$ref.split('/').pop()], ...rest} : schema;
}

function group(schema, pointer, name, schemas) {
  const fields = [];
  for (const [key, value] of Object.entries(schema.properties)) {
    const one = part(
      resolve(value, schemas),
      `${pointer}/${key}`,
      key,
      schema.required?.includes(key) ?? false,
      schemas,
    );
    if (one) fields.push(one);
  }
  return {kind: 'group', name, pointer, description: schema.description, fields};
}

// {kind, name, pointer, schema, required, ...}; null for what has only one value.
function part(schema, pointer, name, required, schemas) {
  const types = [schema.type].flat().filter((type) => type && type !== 'null');
  const field = {name, pointer, schema, required, description: schema.description};
  if ('const' in schema) return {...field, kind: 'const'};
  if (schema.enum) return {...field, kind: 'enum'};
  if (types.length === 0 && schema.type) return null; // null alone
  if (types.length !== 1) return {...field, kind: 'json'};
  switch (types[0]) {
    case 'boolean':
      return {...field, kind: 'boolean'};
    case 'integer':
    case 'number':
      return {...field, kind: 'number'};
    case 'string':
      return {...field, kind: 'text', list: REFERENCES[name]};
    case 'array':
      return arrayPart(field, resolve(schema.items ?? {}, schemas), schemas);
    case 'object':
      if (schema.properties) return group(schema, pointer, name, schemas);
      return schema.additionalProperties?.type === 'string' || schema.additionalProperties?.type === 'number'
        ? {...field, kind: 'map', numbers: schema.additionalProperties.type === 'number'}
        : {...field, kind: 'json'};
    default:
      return {...field, kind: 'json'};
  }
}

// {key, name, fields} of each kind of object, told apart by a constant; null when they are not.
function variants(items, schemas) {
  const kinds = items.oneOf
    ?.map((one) => resolve(one, schemas))
    .map(({properties, description}) => {
      const key = Object.keys(properties ?? {}).find((name) => 'const' in properties[name]);
      return (
        key && {
          key,
          name: properties[key].const,
          description,
          fields: Object.keys(properties)
            .filter((name) => name !== key)
            .map((name) => part(resolve(properties[name], schemas), `/${name}`, name, false, schemas)),
        }
      );
    });
  return kinds?.every((kind) => kind?.fields.every((field) => field && field.kind !== 'group'))
    ? kinds
    : null;
}

function arrayPart(field, items, schemas) {
  if (field.schema.maxItems === 0) return null;
  const kinds = variants(items, schemas);
  if (kinds) return {...field, kind: 'variants', variants: kinds};
  if (items.enum) return {...field, kind: 'choices', choices: items.enum};
  const span = items.maximum - items.minimum;
  if (items.type === 'integer' && span >= 0 && span < 20)
    return {...field, kind: 'choices', choices: Array.from({length: span + 1}, (_, i) => items.minimum + i)};
  return {...field, kind: 'json'};
}

// All fields of a group, those of the groups in it as well.
export const leaves = (node) => (node.kind === 'group' ? node.fields.flatMap(leaves) : [node]);

// The value at a pointer, undefined when there is none.
export const valueAt = (value, pointer) =>
  pointer
    .split('/')
    .slice(1)
    .reduce((at, key) => at?.[key], value);

export function setAt(value, pointer, content) {
  const keys = pointer.split('/').slice(1);
  const last = keys.pop();
  let at = value;
  for (const key of keys) at = at[key] ??= {};
  at[last] = content;
}

// What may be entered: "32 to 224, a multiple of 8".
export function rangeOf(schema) {
  const parts = [];
  const low = schema.minimum ?? schema.exclusiveMinimum;
  if (low !== undefined && schema.maximum !== undefined)
    parts.push(
      schema.exclusiveMinimum !== undefined
        ? `above ${low}, at most ${schema.maximum}`
        : `${low} to ${schema.maximum}`,
    );
  if (schema.multipleOf) parts.push(`a multiple of ${schema.multipleOf}`);
  return parts.join(', ');
}
