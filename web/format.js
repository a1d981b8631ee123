// Figures, times and names as people read them.

const NONE = '–';
const whole = new Intl.NumberFormat('en');
const relative = new Intl.RelativeTimeFormat('en', {numeric: 'auto'});
const absolute = new Intl.DateTimeFormat('en', {dateStyle: 'medium', timeStyle: 'medium'});

const isNumber = (value) => typeof value === 'number' && Number.isFinite(value);

export const count = (value) => (isNumber(value) ? whole.format(value) : NONE);

export const percent = (value, digits = 1) => (isNumber(value) ? `${(100 * value).toFixed(digits)} %` : NONE);

// Three significant digits, more before the point when there are more.
export function figure(value) {
  if (!isNumber(value)) return NONE;
  const size = Math.abs(value);
  if (value === 0) return '0';
  if (size >= 1000) return whole.format(Math.round(value));
  return size < 0.001 ? value.toExponential(2) : String(Number(value.toPrecision(3)));
}

export function interval(value, format = figure) {
  if (!isNumber(value?.mean)) return NONE;
  const range = isNumber(value.low) ? ` (${format(value.low)} to ${format(value.high)})` : '';
  return format(value.mean) + range;
}

export function duration(seconds) {
  if (!isNumber(seconds) || seconds < 0) return NONE;
  const s = Math.round(seconds);
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
}

export function bytes(value) {
  if (!isNumber(value)) return NONE;
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${unit === 0 ? value : value.toPrecision(3)} ${units[unit]}`;
}

// A <time> such as "5 minutes ago", the exact time in its title.
export function when(text) {
  const time = document.createElement('time');
  const at = Date.parse(text ?? '');
  if (Number.isNaN(at)) {
    time.textContent = NONE;
    return time;
  }
  const seconds = (at - Date.now()) / 1000;
  const [unit, size] = [
    ['day', 86400],
    ['hour', 3600],
    ['minute', 60],
  ].find(([, s]) => Math.abs(seconds) >= s) ?? ['second', 1];
  time.dateTime = text;
  time.title = absolute.format(at);
  time.textContent =
    Math.abs(seconds) > 30 * 86400 ? absolute.format(at) : relative.format(Math.round(seconds / size), unit);
  return time;
}

export const clock = (text) => absolute.format(Date.parse(text));

export const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1);

// {method: 'bido', input_weight: 0.05} -> "bido (input_weight 0.05)"
export function defenceText({method, ...settings}) {
  const given = Object.entries(settings).filter(([, value]) => value !== null);
  return given.length ? `${method} (${given.map(([name, value]) => `${name} ${value}`).join(', ')})` : method;
}

// An array of a job's settings: words, numbers or defences.
export const listText = (values) =>
  values.map((value) => (value?.method ? defenceText(value) : String(value))).join(', ');

// "drop_low" -> "Drop low"
export const words = (name) => sentence(name.replaceAll('_', ' '));

// "job_ab12cd34..." -> "ab12cd34": enough to tell objects apart; the whole id stands in titles.
export const shortId = (id) => (id ?? '').replace(/^[a-z]+_/, '').slice(0, 8);

// What a job is about, in a few words.
export function jobTitle(job) {
  const spec = job.spec ?? {};
  return job.type === 'audit'
    ? `Audit of ${shortId(spec.model)}`
    : `${spec.mask?.method ?? 'training'} on ${spec.dataset ?? '?'}`;
}
