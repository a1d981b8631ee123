// Erasing one person with its receipt, pairs lists, tokens, the audit trail; and that who may not see these is not shown them.
import assert from 'node:assert/strict';
import {writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {after, before, test} from 'node:test';
import {accessible, clean, guise, launch, open, Server, temporary} from './support.mjs';

const directory = temporary();
const server = new Server(directory);
let browser;

before(async () => {
  await server.start();
  guise('synth', `${directory}/faces.tar`, '--identities', '6', '--images', '4', '--size', '32');
  guise('--url', server.url, 'dataset', 'add', 'drawn', `${directory}/faces.tar`);
  browser = await launch();
});

after(async () => {
  await browser?.close();
  await server.stop();
  clean(directory);
});

test('a pairs list is uploaded, and its mistakes are told', async () => {
  const page = await open(browser, `${server.url}/#/datasets/drawn`);
  const file = join(directory, 'my view.txt');
  writeFileSync(file, '1\nperson-001 1 2\nnobody 1 person-002 1\n');
  await page.getByRole('button', {name: 'Upload the list'}).click();
  await page.getByText('Choose a file').waitFor();
  await page.getByLabel('Pairs file').setInputFiles(file);
  assert.equal(await page.getByLabel('Name of the list').inputValue(), 'my-view');
  await page.getByRole('button', {name: 'Upload the list'}).click();
  await page.getByRole('alert').getByText('nobody').waitFor();
  await accessible(page, 'pairs');
  writeFileSync(file, '1\nperson-001 1 2\nperson-001 1 person-002 1\n');
  await page.getByLabel('Pairs file').setInputFiles(file);
  await page.getByRole('button', {name: 'Upload the list'}).click();
  await page.getByRole('region', {name: 'Pairs lists'}).getByText('my-view').waitFor();
  assert.equal((await server.ask('GET', '/v1/datasets/drawn/pairs')).data[0].name, 'my-view');
  page.check();
  await page.context().close();
});

test('one person is erased by keyboard, and the receipt is shown', async () => {
  const page = await open(browser, `${server.url}/#/datasets/drawn`, {colorScheme: 'dark'});
  const erase = page.getByRole('button', {name: 'Erase person-001'});
  await erase.focus();
  await page.keyboard.press('Enter');
  const dialog = page.getByRole('dialog', {name: 'Erase person-001?'});
  await dialog.waitFor();
  await page.keyboard.press('Escape');
  await dialog.waitFor({state: 'detached'});
  await erase.click();
  await accessible(page, 'erase a person');
  assert.ok(await dialog.getByRole('button', {name: 'Erase this person'}).isDisabled());
  await dialog.getByLabel('I want to erase person-001').check();
  await dialog.getByRole('button', {name: 'Erase this person'}).click();
  const receipt = page.locator('.receipt');
  await receipt.getByText('One person was erased').waitFor();
  assert.match(await receipt.innerText(), /Images\s+4[^]*Pairs lists\s+1/);
  await erase.waitFor({state: 'detached'});
  await page.locator('dt:text-is("People") + dd').getByText('5').waitFor();
  await accessible(page, 'receipt, dark');
  page.check();
  await page.context().close();
});

test('a token is made, shown once, and revoked', async () => {
  const page = await open(browser, server.url);
  await page.getByRole('link', {name: 'Tokens'}).click();
  await page.getByText('There are no tokens yet.').waitFor();
  await page.getByRole('button', {name: 'Make it'}).click();
  await page.getByRole('alert').getByText('/scopes').waitFor();
  await page.getByLabel('Name', {exact: true}).fill('laptop');
  await page.getByLabel('jobs:read').check();
  await page.getByLabel('Valid until').fill('2099-01-02');
  await page.getByRole('button', {name: 'Make it'}).click();
  const secret = await page.getByLabel('New token').inputValue();
  assert.match(secret, /^guise_/);
  await accessible(page, 'tokens');
  await page.setViewportSize({width: 375, height: 740});
  assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= 375));
  const [token] = (await server.ask('GET', '/v1/tokens')).data;
  assert.deepEqual(
    [token.name, token.scopes, token.expires_at.slice(0, 10)],
    ['laptop', ['jobs:read'], '2099-01-02'],
  );
  await page.getByRole('button', {name: 'Revoke laptop'}).click();
  await page.getByRole('dialog').getByRole('button', {name: 'Revoke it'}).click();
  await page.getByText('revoked', {exact: true}).waitFor();
  assert.ok((await server.ask('GET', '/v1/tokens')).data[0].revoked_at);
  await page.reload();
  await page.getByText('revoked', {exact: true}).waitFor();
  assert.ok(!(await page.content()).includes(secret));
  page.check();
  await page.context().close();
});

test('the audit trail has what was done, on a phone as well', async () => {
  const page = await open(browser, `${server.url}/#/audit`, {viewport: {width: 390, height: 800}});
  await page.getByText('deleteIdentity').waitFor();
  await page.getByText('Show', {exact: true}).first().click();
  await page.getByText('Log of the database').waitFor();
  await accessible(page, 'audit trail');
  assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= window.innerWidth));
  await page.getByLabel(/^Who/).fill('tok_none');
  await page.getByRole('button', {name: 'Find'}).click();
  await page.getByText('Nothing is recorded.').waitFor();
  page.check();
  await page.context().close();
});

test('more of the audit trail is of what was asked for, not of what is being typed', async () => {
  for (let i = 0; i < 101; i++)
    await server.ask('POST', '/v1/tokens', {body: `{"name":"many-${i}","scopes":["jobs:read"]}`});
  const page = await open(browser, `${server.url}/#/audit`);
  const more = page.getByRole('button', {name: 'Show more'});
  await more.waitFor();
  await page.getByLabel(/^Who/).fill('tok_none');
  const asked = page.waitForRequest(/cursor=/);
  await more.click();
  assert.equal(new URL((await asked).url()).searchParams.get('actor'), null);
  page.check();
  await page.context().close();
});

test('who may not is not shown the pages', async () => {
  const {token} = await server.ask('POST', '/v1/tokens', {
    body: '{"name":"reader","scopes":["jobs:read","datasets:read"]}',
  });
  await server.stop();
  await server.start('--auth=token');
  const page = await open(browser, server.url);
  await page.getByLabel('Token', {exact: true}).fill(token);
  await page.keyboard.press('Enter');
  await page.getByRole('link', {name: 'Data sets'}).click();
  await page.getByText('There are no data sets yet.').waitFor(); // that one is nobody's
  assert.equal(await page.getByRole('link', {name: 'Tokens'}).count(), 0);
  assert.equal(await page.getByRole('link', {name: 'Audit trail'}).count(), 0);
  await page.goto(`${server.url}/#/tokens`);
  await page.getByText('this needs the scope admin').waitFor();
  page.check();
  await page.context().close();
});
