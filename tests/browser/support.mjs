// A guised of the test's own, a browser, and what tests ask of pages.
import {spawn, execFileSync} from 'node:child_process';
import {mkdtempSync, readFileSync, rmSync} from 'node:fs';
import {createRequire} from 'node:module';
import {tmpdir} from 'node:os';
import {dirname, join} from 'node:path';
import {fileURLToPath} from 'node:url';
import {createInterface} from 'node:readline';
import assert from 'node:assert/strict';
import {chromium} from 'playwright-core';

const here = dirname(fileURLToPath(import.meta.url));
export const root = join(here, '..', '..');
const build = process.env.BUILD ?? join(root, 'build');
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

// What the caller has set for guise is not for this one.
const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('GUISE_')));

export const guise = (...args) =>
  execFileSync(join(build, 'guise'), args, {encoding: 'utf8', env, stdio: ['ignore', 'pipe', 'ignore']});
export const temporary = () => mkdtempSync(join(tmpdir(), 'guise-browser-'));

export class Server {
  constructor(directory) {
    this.directory = directory;
  }

  // Starts guised and waits until it listens; further arguments are its options.
  async start(...options) {
    const listen = options.some((option) => option.startsWith('--listen')) ? [] : ['--listen=127.0.0.1:0'];
    this.process = spawn(
      join(build, 'guised'),
      [...listen, `--state=${this.directory}/state`, '--threads=1', ...options],
      {stdio: ['ignore', 'pipe', 'pipe'], env},
    );
    this.log = '';
    this.process.stderr.on('data', (data) => {
      this.log += data;
    });
    for await (const line of createInterface({input: this.process.stdout})) {
      const match = /listening on (\S+)/.exec(line);
      if (match) {
        this.url = match[1];
        return this;
      }
    }
    throw new Error(`guised did not start: ${this.log}`);
  }

  async stop() {
    if (!this.process || this.process.exitCode !== null) return;
    const ended = new Promise((resolve) => this.process.once('exit', resolve));
    this.process.kill('SIGTERM');
    await ended;
  }

  async ask(method, path, {body, type = 'application/json', headers = {}} = {}) {
    const response = await fetch(this.url + path, {
      method,
      body,
      headers: {...(body && {'Content-Type': type}), ...headers},
    });
    const text = await response.text();
    assert.ok(response.ok, `${method} ${path}: ${response.status} ${text}`);
    return text && response.headers.get('Content-Type')?.includes('json') ? JSON.parse(text) : text;
  }

  submit(job) {
    return this.ask('POST', '/v1/jobs', {body: JSON.stringify(job)});
  }

  // Waits until the job has ended; the job.
  async ended(id) {
    for (;;) {
      const job = await this.ask('GET', `/v1/jobs/${id}`);
      if (job.terminal) return job;
      await new Promise((resolve) => setTimeout(resolve, 300));
    }
  }

  async ready(name) {
    for (;;) {
      const dataset = await this.ask('GET', `/v1/datasets/${name}`);
      if (dataset.state !== 'ingesting') return dataset;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}

export const clean = (directory) => rmSync(directory, {recursive: true, force: true});

export const launch = () =>
  chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: process.getuid() === 0 ? ['--no-sandbox'] : [],
  });

// A page whose errors, refused loads and requests to other hosts fail the test in check().
export async function open(browser, url, options = {}) {
  const context = await browser.newContext({
    viewport: {width: 1280, height: 900},
    reducedMotion: 'reduce',
    ...options,
  });
  const page = await context.newPage();
  page.setDefaultTimeout(60000);
  const wrong = [];
  page.on('pageerror', (error) => wrong.push(error.stack));
  page.on('console', (message) => {
    const refused = /Failed to load resource: the server responded with a status of (4\d\d|503)/.test(
      message.text(),
    );
    if (message.type() === 'error' && !refused) wrong.push(message.text());
  });
  page.on('request', (request) => {
    const {protocol, origin} = new URL(request.url());
    if (protocol !== 'blob:' && protocol !== 'data:' && url && origin !== new URL(url).origin)
      wrong.push(`asked ${request.url()}`);
  });
  page.check = () => assert.deepEqual(wrong, []);
  if (url) await page.goto(url);
  return page;
}

// No serious or critical finding of axe on the page as it is now.
export async function accessible(page, what) {
  await page.evaluate(axe);
  const {violations} = await page.evaluate(() => globalThis.axe.run(document, {resultTypes: ['violations']}));
  const bad = violations
    .filter(({impact}) => impact === 'serious' || impact === 'critical')
    .map(
      ({id, nodes}) =>
        `${id}: ${nodes.map(({html, failureSummary}) => `${html} ${failureSummary}`).join(' | ')}`,
    );
  assert.deepEqual(bad, [], what);
}

// A picture for the documentation, when $SCREENSHOTS names a folder.
export async function shoot(page, name) {
  if (!process.env.SCREENSHOTS) return;
  await page.evaluate(() => window.scrollTo(0, 0));
  await page.screenshot({path: join(process.env.SCREENSHOTS, `dashboard-${name}.png`)});
}
