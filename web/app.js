// The frame around the pages: which page the address names, theme, connection, token.
import {announce, h, problemBox, replace} from './dom.js';
import {Problem, forgetToken, mayRead, onReachable, token} from './api.js';
import {auditPage, tokensPage} from './admin.js';
import {comparePage} from './compare.js';
import {datasetPage, datasetsPage} from './datasets.js';
import {jobPage} from './job.js';
import {jobsPage} from './jobs.js';
import {modelPage, modelsPage} from './models.js';
import {newJobPage} from './new_job.js';

// Each page: async (main, {id, query, signal}); it may go on until the signal aborts.
const pages = [
  [/^\/(?:jobs)?$/, jobsPage, 'Jobs'],
  [/^\/jobs\/([^/]+)$/, jobPage, 'Job'],
  [/^\/compare$/, comparePage, 'Compare'],
  [/^\/new$/, newJobPage, 'New job'],
  [/^\/datasets$/, datasetsPage, 'Data sets'],
  [/^\/datasets\/([^/]+)$/, datasetPage, 'Data set'],
  [/^\/models$/, modelsPage, 'Models'],
  [/^\/models\/([^/]+)$/, modelPage, 'Model'],
  [/^\/tokens$/, tokensPage, 'Tokens'],
  [/^\/audit$/, auditPage, 'Audit trail'],
];

const main = document.getElementById('main');
let leave = new AbortController();
let first = true;

function notFound(element) {
  replace(
    element,
    h('h1', {tabindex: -1}, 'There is no such page'),
    h('p', null, h('a', {href: '#/jobs'}, 'Jobs')),
  );
}

function find(path) {
  try {
    for (const [pattern, page, title] of pages) {
      const match = pattern.exec(path);
      if (match) return {page, title, id: match[1] === undefined ? null : decodeURIComponent(match[1])};
    }
  } catch {
    // an escape that is none
  }
  return {page: notFound, title: 'Not found', id: null};
}

function markNavigation(path) {
  for (const link of document.querySelectorAll('nav a')) {
    const here =
      path.startsWith(link.hash.slice(1)) || (link.hash === '#/jobs' && /^\/(new|compare)?$/.test(path));
    if (here) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  }
}

async function open() {
  leave.abort();
  leave = new AbortController();
  const {signal} = leave;
  const [path, query] = location.hash.replace(/^#/, '').split('?');
  const {page, title, id} = find(path || '/');
  markNavigation(path || '/');
  document.title = `${title} · guise`;
  const root = h('div', {class: 'page'});
  replace(main, root);
  window.scrollTo(0, 0);
  const running = page(root, {id, query: new URLSearchParams(query), signal});
  if (!first) (root.querySelector('h1') ?? main).focus({preventScroll: true});
  first = false;
  try {
    await running;
  } catch (error) {
    if (signal.aborted) return;
    if (!(error instanceof Problem)) console.error(error);
    root.append(problemBox(error));
  }
}

function setUpTheme() {
  const choice = document.getElementById('theme');
  choice.value = document.documentElement.dataset.theme ?? '';
  choice.addEventListener('change', () => {
    if (choice.value) document.documentElement.dataset.theme = choice.value;
    else delete document.documentElement.dataset.theme;
    localStorage.setItem('guise-theme', choice.value);
    document.dispatchEvent(new Event('guise-theme'));
  });
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () =>
    document.dispatchEvent(new Event('guise-theme')),
  );
}

function setUpToken() {
  const button = document.getElementById('sign-out');
  const show = () => {
    button.hidden = !token();
  };
  button.addEventListener('click', () => {
    forgetToken();
    show();
    setUpAdmin();
    open();
  });
  document.addEventListener('guise-token', show);
  document.addEventListener('guise-token', setUpAdmin);
  show();
}

// Links to what takes the scope admin are shown to who has it.
async function setUpAdmin() {
  const may = await mayRead('v1/tokens');
  for (const link of document.querySelectorAll('nav a.admin')) link.hidden = !may;
}

function setUpConnection() {
  const badge = document.getElementById('connection');
  onReachable((now) => {
    badge.hidden = now;
    badge.textContent = 'No connection';
    announce(now ? 'Connected again' : 'The connection to guised is lost; trying again');
  });
}

document.getElementById('skip').addEventListener('click', (event) => {
  event.preventDefault();
  (main.querySelector('h1') ?? main).focus();
});
setUpTheme();
setUpToken();
setUpAdmin();
setUpConnection();
window.addEventListener('hashchange', open);
open();
