// Data sets of templates, which faces' owners masked: their upload and their page; and models whose ONNX files begin at a template.
import assert from 'node:assert/strict';
import {renameSync} from 'node:fs';
import {join} from 'node:path';
import {after, before, test} from 'node:test';
import {accessible, clean, guise, launch, open, Server, temporary} from './support.mjs';

const directory = temporary();
const server = new Server(directory);
const file = join(directory, 'mine.templates');
const SMALL = {
  type: 'train',
  dataset: 'drawn',
  model: {input: 32, width: 0.25, embedding: 32},
  train: {epochs: 1, batch: 8, warmup_steps: 0},
  audit: {attacks: []},
};
let browser;
let page;
let models;

const trained = async (mask) => {
  const {id} = await server.submit({...SMALL, mask});
  const job = await server.ended(id);
  assert.equal(job.state, 'succeeded', JSON.stringify(job.error));
  return job.model;
};

before(async () => {
  await server.start();
  guise('synth', `${directory}/faces.tar`, '--identities', '6', '--images', '4', '--size', '32');
  guise('--url', server.url, 'dataset', 'add', 'drawn', `${directory}/faces.tar`, '--size', '32');
  models = {none: await trained({method: 'none'}), drawn: await trained({method: 'ldp_slicing'})};
  guise(
    '--url',
    server.url,
    'mask',
    `${directory}/faces.tar`,
    '--model',
    models.none,
    '--unsafe',
    '-o',
    file,
  );
  browser = await launch();
  page = await open(browser, `${server.url}/#/datasets`);
});

after(async () => {
  await browser?.close();
  await server.stop();
  clean(directory);
});

test('a file of templates is uploaded', async () => {
  const archive = page.getByLabel('Archive', {exact: true});
  await page.locator('#file-help').getByText('.templates').waitFor();
  renameSync(file, `${file}.other`);
  await archive.setInputFiles(`${file}.other`);
  await page.getByRole('button', {name: 'Upload', exact: true}).click();
  await page.locator('#file-error').getByText('.templates').waitFor();
  renameSync(`${file}.other`, file);
  await archive.setInputFiles(file);
  await page.getByLabel('Name', {exact: true}).fill('mine');
  await page.getByRole('button', {name: 'Upload', exact: true}).click();
  await page.getByRole('row', {name: /mine ready 6 24/}).waitFor();
  page.check();
});

test('its page has what is known of templates, and offers nothing that cannot be', async () => {
  const refused = [];
  page.on('response', (response) => response.status() >= 400 && refused.push(response.url()));
  await page.getByRole('link', {name: 'mine'}).click();
  await page.getByText('They are numbers here').waitFor();
  await page.locator('dt:text-is("Templates, masked by their owner") + dd').getByText('24').waitFor();
  await page.locator('dt:text-is("Made of faces of") + dd').getByText('32 × 32').waitFor();
  assert.equal(await page.getByRole('button', {name: 'Upload the list'}).count(), 0);
  assert.equal(await page.getByRole('alert').count(), 0);
  assert.equal(await page.locator('main .box.bad').count(), 0);
  assert.equal(await page.getByRole('link', {name: 'Train on it'}).count(), 1);
  assert.deepEqual(refused, []);
  await accessible(page, 'data set of templates');
  page.check();
});

test('a person is erased with every template that shows the person', async () => {
  await page.getByRole('row', {name: /^5 /}).waitFor();
  await page.getByRole('button', {name: 'Erase 2', exact: true}).click();
  const dialog = page.getByRole('dialog', {name: 'Erase 2?'});
  await dialog.getByText('templates that show this person').waitFor();
  await dialog.getByLabel('I want to erase 2').check();
  await dialog.getByRole('button', {name: 'Erase this person'}).click();
  await page.getByText('One person was erased').first().waitFor();
  assert.equal(await page.getByRole('button', {name: 'Erase 2', exact: true}).count(), 0);
  await page.getByRole('button', {name: 'Erase 3', exact: true}).waitFor();
  await page.locator('dt:text-is("People") + dd').getByText('5').waitFor();
  page.check();
});

test('its erasure speaks of templates', async () => {
  await page.getByRole('button', {name: 'Erase', exact: true}).click();
  const dialog = page.getByRole('dialog', {name: 'Erase mine?'});
  await dialog.getByText('20 templates of 5 people').waitFor();
  await dialog.getByLabel('I want to erase mine').check();
  await dialog.getByRole('button', {name: 'Erase it'}).click();
  await page.getByRole('row', {name: /drawn ready/}).waitFor();
  assert.equal(await page.getByRole('link', {name: 'mine'}).count(), 0);
  page.check();
});

test('a model tells where its ONNX files begin', async () => {
  for (const [mask, text] of [
    ['none', 'from RGB pixels to the embedding, the mask inside'],
    ['drawn', 'from a masked template to the embedding'],
  ]) {
    await page.goto(`${server.url}/#/models/${models[mask]}`);
    await page.getByLabel('I know that this model is not audited').check();
    await page.getByRole('button', {name: 'Show report and files'}).click();
    await page.getByRole('heading', {name: 'What attackers got'}).waitFor();
    const row = page.getByRole('row').filter({has: page.locator('code', {hasText: /^model\.onnx$/})});
    await row.getByText(text).waitFor();
  }
  page.check();
});
