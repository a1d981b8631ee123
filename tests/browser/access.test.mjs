// Ways to the dashboard: with a token, over TLS, and behind a proxy before a Unix socket.
import assert from 'node:assert/strict';
import {execFileSync} from 'node:child_process';
import {request as ask, createServer} from 'node:http';
import {join} from 'node:path';
import {after, afterEach, before, test} from 'node:test';
import {accessible, clean, guise, launch, open, Server, temporary} from './support.mjs';

const directory = temporary();
const server = new Server(directory);
let browser;
let admin; // tokens
let reader;
let job;

before(async () => {
  await server.start();
  admin = (
    await server.ask('POST', '/v1/tokens', {
      body: '{"name":"all","scopes":["admin","jobs:read","jobs:write","datasets:read","datasets:write","models:read"]}',
    })
  ).token;
  reader = (
    await server.ask('POST', '/v1/tokens', {body: '{"name":"reader","scopes":["admin","jobs:read"]}'})
  ).token;
  guise('synth', `${directory}/faces.tar`, '--identities', '6', '--images', '4', '--size', '32');
  guise('--url', server.url, 'dataset', 'add', 'drawn', `${directory}/faces.tar`);
  job = (
    await server.ended(
      (
        await server.submit({
          type: 'train',
          dataset: 'drawn',
          mask: {method: 'none'},
          audit: {attacks: []},
          model: {input: 32, width: 0.25, embedding: 32},
          train: {epochs: 1, batch: 8},
        })
      ).id,
    )
  ).id;
  await server.stop();
  browser = await launch();
});

afterEach(() => server.stop());

after(async () => {
  await browser?.close();
  clean(directory);
});

test('a token is asked for, kept in the tab and sent along', async () => {
  await server.start('--auth=token');
  const page = await open(browser, server.url);
  await page.getByRole('dialog', {name: 'This daemon wants a token'}).waitFor();
  await accessible(page, 'token');
  await page.keyboard.press('Escape'); // there is nothing to see without one
  await page.getByLabel('Token', {exact: true}).fill('guise_wrong');
  await page.keyboard.press('Enter');
  await page.getByText('the token is not valid here').waitFor();
  await page.getByLabel('Token', {exact: true}).fill(admin);
  await page.keyboard.press('Enter');
  await page.getByRole('link', {name: 'none on drawn'}).click();
  await page.locator('.log').getByText('running').first().waitFor(); // the event stream has it, too
  await page.getByRole('link', {name: 'Model and privacy report'}).click();
  await page.getByLabel(/I know that this model/).check();
  await page.getByRole('button', {name: 'Show report and files'}).click();
  const waiting = page.waitForEvent('download');
  await page.getByRole('button', {name: 'Download model.safetensors'}).click();
  assert.equal((await waiting).suggestedFilename(), 'model.safetensors');
  await page.reload(); // the tab still has it
  await page.getByLabel(/I know that this model/).waitFor();
  assert.deepEqual(
    await page.evaluate(() => [sessionStorage.length, Object.values(localStorage).join().includes('guise_')]),
    [1, false],
  );
  const other = await page.context().newPage(); // another tab has not
  await other.goto(server.url);
  await other.getByRole('dialog', {name: 'This daemon wants a token'}).waitFor();
  await other.close();
  await page.getByRole('button', {name: 'Forget token'}).click();
  await page.getByRole('dialog', {name: 'This daemon wants a token'}).waitFor();
  assert.equal(await page.evaluate(() => sessionStorage.length), 0);
  page.check();
  await page.context().close();
});

test('a token for little says what it lacks', async () => {
  await server.start('--auth=token');
  const page = await open(browser, server.url);
  await page.getByLabel('Token', {exact: true}).fill(reader);
  await page.keyboard.press('Enter');
  await page.getByRole('link', {name: 'none on drawn'}).waitFor();
  await page.getByRole('link', {name: 'Models'}).click();
  await page.getByText('this needs the scope models:read').waitFor();
  page.check();
  await page.context().close();
});

test('over TLS', async () => {
  const [key, certificate] = [join(directory, 'key.pem'), join(directory, 'certificate.pem')];
  execFileSync(
    'openssl',
    [
      'req',
      '-x509',
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:P-256',
      '-nodes',
      '-keyout',
      key,
      '-out',
      certificate,
      '-days',
      '2',
      '-subj',
      '/CN=localhost',
      '-addext',
      'subjectAltName=IP:127.0.0.1',
    ],
    {stdio: 'ignore'},
  );
  await server.start(`--tls-certificate=${certificate}`, `--tls-key=${key}`);
  assert.match(server.url, /^https:/);
  const page = await open(browser, server.url, {ignoreHTTPSErrors: true});
  await page.getByRole('link', {name: 'none on drawn'}).click();
  await page.locator('.log').getByText('running').first().waitFor();
  page.check();
  await page.context().close();
});

test('behind a proxy before a Unix socket, below a path of its own', async () => {
  const socketPath = join(directory, 'socket');
  await server.start(`--listen=unix:${socketPath}`);
  const proxy = createServer((request, response) => {
    const onward = ask(
      {
        socketPath,
        path: request.url.replace(/^\/guise/, ''),
        method: request.method,
        headers: request.headers,
      },
      (answer) => {
        response.writeHead(answer.statusCode, answer.headers);
        answer.pipe(response);
      },
    );
    response.on('close', () => onward.destroy());
    onward.on('error', () => response.destroy());
    request.pipe(onward);
  });
  await new Promise((resolve) => proxy.listen(0, '127.0.0.1', resolve));
  const page = await open(browser, `http://127.0.0.1:${proxy.address().port}/guise/`);
  await page.getByRole('link', {name: 'none on drawn'}).click();
  await page.locator('.log').getByText('running').first().waitFor();
  await page.goto(`http://127.0.0.1:${proxy.address().port}/guise/#/new`);
  await page.getByLabel('Dataset (needed)', {exact: true}).waitFor();
  assert.ok(job);
  page.check();
  await page.context().close();
  proxy.closeAllConnections();
  proxy.close();
});
