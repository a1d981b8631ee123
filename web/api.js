// Requests to guised. Addresses are relative to the page, so that a proxy may serve it below a path of its own. A token, when
// the daemon wants one, lives in sessionStorage: in this tab and no longer than it.
import {askForToken} from './dom.js';

const TOKEN = 'guise-token';
const base = new URL('.', location.href.split('#')[0]);

export const token = () => sessionStorage.getItem(TOKEN);
export function forgetToken() {
  sessionStorage.removeItem(TOKEN);
}

// An answer that is an error (RFC 9457): title, detail, status, and for wrong values errors: [{pointer, code, detail}].
export class Problem extends Error {
  constructor(status, body) {
    super(body.detail ?? `The daemon answered ${status}`);
    this.status = status;
    this.title = body.title ?? 'The daemon refused this';
    this.detail = this.message;
    this.errors = body.errors ?? [];
  }
}

function problemOf(status, text) {
  try {
    return new Problem(status, JSON.parse(text));
  } catch {
    return new Problem(status, {
      detail: `The answer (${status}) is not guised's: look at what stands between it and this page`,
    });
  }
}

// path: "v1/jobs"; query: {name: value or [values]}, empty ones are left out.
export function address(path, query = {}) {
  const url = new URL(path, base);
  for (const [name, value] of Object.entries(query))
    for (const one of [value].flat())
      if (one !== null && one !== undefined && one !== '') url.searchParams.append(name, one);
  return url;
}

// ---- whether the daemon can be reached ----

const watchers = new Set();
let reachable = true;
export const onReachable = (watcher) => watchers.add(watcher);
function setReachable(now) {
  if (now !== reachable) for (const watcher of watchers) watcher(now);
  reachable = now;
}

async function fetchOnce(url, options) {
  const headers = {...options.headers};
  if (token()) headers.Authorization = `Bearer ${token()}`;
  try {
    const response = await fetch(url, {...options, headers, cache: 'no-store', redirect: 'error'});
    setReachable(true);
    return response;
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    setReachable(false);
    throw new Problem(0, {title: 'No connection', detail: 'guised does not answer. Is it running?'});
  }
}

// One question at a time, however many requests were refused.
let asking = null;
function newToken(why, refused) {
  if (token() !== refused) return Promise.resolve(); // somebody gave one meanwhile
  asking ??= askForToken(why)
    .then((text) => {
      sessionStorage.setItem(TOKEN, text);
      document.dispatchEvent(new Event('guise-token'));
    })
    .finally(() => {
      asking = null;
    });
  return asking;
}

// The response; throws a Problem. Asks for a token when the daemon wants one, as often as it does.
export async function request(method, path, {query, body, type, signal, headers} = {}) {
  const options = {method, body, signal, headers: {...headers, ...(type && {'Content-Type': type})}};
  for (;;) {
    const used = token();
    const response = await fetchOnce(address(path, query), options);
    if (response.ok) return response;
    const problem = problemOf(response.status, await response.text());
    if (response.status !== 401) throw problem;
    await newToken(problem.detail, used);
  }
}

// Whether a list may be read, without asking for a token.
export async function mayRead(path) {
  try {
    const response = await fetchOnce(address(path, {limit: 1}), {method: 'GET'});
    await response.text(); // a request whose answer is not read does not end
    return response.ok;
  } catch {
    return false;
  }
}

export const getJson = async (path, options) => (await request('GET', path, options)).json();
export const getText = async (path, options) => (await request('GET', path, options)).text();
export const post = async (path, options) => (await request('POST', path, options)).json();
export const postJson = (path, value, options) =>
  post(path, {...options, body: JSON.stringify(value), type: 'application/json'});
export const erase = (path) => request('DELETE', path);

// All pages of a list, up to `most` entries.
export async function list(path, {query, signal, most = 1000} = {}) {
  const data = [];
  for (let cursor = null; data.length < most;) {
    const page = await getJson(path, {query: {...query, cursor}, signal});
    data.push(...page.data);
    if (!page.next) break;
    cursor = page.next;
  }
  return data;
}

// A key that makes a POST that is sent twice one job.
export function idempotencyKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

// ---- server-sent events, by fetch: EventSource cannot send a token ----

// Calls take({id, event, data}) for each event until the stream ends with `end` or the signal aborts. A broken connection is
// taken up again behind the last event. While the page is not seen there is none: browsers open six to a host in all.
export async function follow(path, take, {signal, onstate = () => {}}) {
  let last = null;
  for (let wait = 500; !signal.aborted;) {
    await shown();
    const unseen = new AbortController();
    const leave = () => document.hidden && unseen.abort();
    document.addEventListener('visibilitychange', leave);
    try {
      const response = await request('GET', path, {
        signal: AbortSignal.any([signal, unseen.signal]),
        headers: last === null ? {} : {'Last-Event-ID': last},
      });
      onstate('live');
      for await (const event of events(response.body)) {
        wait = 500;
        last = event.id;
        take(event);
        if (event.event === 'end') return;
      }
    } catch (error) {
      if (signal.aborted) return;
      if (error.status && error.status < 500) throw error;
    } finally {
      document.removeEventListener('visibilitychange', leave);
    }
    if (unseen.signal.aborted) continue;
    onstate('lost');
    await pause(wait, signal);
    wait = Math.min(2 * wait, 10000);
  }
}

// WHATWG HTML 9.2.6, as far as guised uses it: each event has an id, a name and one line of JSON.
async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let text = '';
  let event = {};
  for (;;) {
    const {value, done} = await reader.read();
    if (done) return;
    const lines = (text + value).split('\n');
    text = lines.pop();
    for (const line of lines) {
      const colon = line.indexOf(':');
      if (line === '' && event.data !== undefined) yield {...event, data: JSON.parse(event.data)};
      if (line === '') event = {};
      else if (colon > 0) event[line.slice(0, colon)] = line.slice(colon + 1).trimStart();
    }
  }
}

// ---- waiting ----

export const pause = (ms, signal) =>
  new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal?.addEventListener(
      'abort',
      () => {
        clearTimeout(timer);
        resolve();
      },
      {once: true},
    );
  });

const shown = () =>
  document.hidden
    ? new Promise((resolve) => document.addEventListener('visibilitychange', resolve, {once: true}))
    : null;

// Runs work() again and again, each `ms(result)` milliseconds after it ended, while the page is seen; null ends it. Requests
// that fail for want of a connection are tried again.
export async function repeat(work, ms, signal) {
  while (!signal.aborted) {
    let next = 3000;
    try {
      next = ms(await work());
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof Problem) || (error.status > 0 && error.status < 500)) throw error;
    }
    if (next === null) return;
    await pause(next, signal);
    await shown();
  }
}

// ---- files ----

// Sends a file; progress(fraction) is called as it goes. fetch() cannot tell how much is sent.
export function upload(path, {query, file, type, progress, signal}) {
  return new Promise((resolve, reject) => {
    const xhr = new XMLHttpRequest();
    xhr.open('PUT', address(path, query));
    xhr.setRequestHeader('Content-Type', type);
    if (token()) xhr.setRequestHeader('Authorization', `Bearer ${token()}`);
    xhr.upload.onprogress = (event) => progress(event.loaded / Math.max(event.total, 1));
    xhr.onload = () =>
      xhr.status < 300
        ? resolve(JSON.parse(xhr.responseText))
        : reject(problemOf(xhr.status, xhr.responseText));
    xhr.onerror = () =>
      reject(
        new Problem(0, {
          title: 'The upload broke off',
          detail:
            'The connection ended: guised may have refused the file (too large, or the name is taken) or be gone',
        }),
      );
    xhr.onabort = () => reject(new DOMException('canceled', 'AbortError'));
    signal?.addEventListener('abort', () => xhr.abort(), {once: true});
    xhr.send(file);
  });
}

// Saves a file under its name: the browser by itself, or, when a token has to be sent along, through memory.
export async function save(path, query, name) {
  const link = document.createElement('a');
  link.download = name;
  if (!token()) {
    link.href = address(path, query).href;
    link.click();
    return;
  }
  const blob = await (await request('GET', path, {query})).blob();
  link.href = URL.createObjectURL(blob);
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}
