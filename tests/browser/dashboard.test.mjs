// What a person does with the dashboard, from the upload to the model, with the pointer, by keyboard, on a phone, in the dark.
import assert from 'node:assert/strict';
import {execFileSync} from 'node:child_process';
import {createHash} from 'node:crypto';
import {mkdirSync, readFileSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {after, before, test} from 'node:test';
import {accessible, clean, guise, launch, open, Server, shoot, temporary} from './support.mjs';

const directory = temporary();
const server = new Server(directory);
const archive = join(directory, 'drawn faces.tar');
const HOSTILE = '<img src=x onerror="document.title=\'hacked\'">';
const SMALL = {model: {input: 32, width: 0.25, embedding: 32}, train: {epochs: 2, batch: 16}};
const unaudited = {
  type: 'train',
  dataset: 'drawn-faces',
  mask: {method: 'none'},
  audit: {attacks: []},
  ...SMALL,
};
const endless = {...unaudited, train: {epochs: 1000, batch: 16}, labels: {note: HOSTILE}};
const EPOCHS = process.env.SCREENSHOTS ? 12 : 2; // curves want some
let browser;
let page;
let trained; // the job of the tests

// Drawn faces, and a file whose name is an attack on the page that lists it.
function drawArchive() {
  guise('synth', archive, '--identities', '12', '--images', '6', '--size', '48');
  const folder = join(directory, 'extra', 'person-<b>x<');
  mkdirSync(folder, {recursive: true});
  writeFileSync(join(folder, '<img src=x onerror=alert(1)>.jpg'), 'no picture');
  execFileSync('tar', ['-C', join(directory, 'extra'), '-rf', archive, '.']);
}

before(async () => {
  drawArchive();
  await server.start();
  browser = await launch();
  page = await open(browser, server.url);
});

after(async () => {
  await browser?.close();
  await server.stop();
  clean(directory);
});

const field = (label) => page.getByLabel(label, {exact: true});
const go = (where) => page.goto(`${server.url}/#/${where}`);
const nothingRan = async (where = page) => {
  assert.notEqual(await where.title(), 'hacked');
  assert.equal(await where.locator('main img').count(), 0); // no picture, drawn or not, is shown anywhere
};

test('an empty daemon says what to do', async () => {
  await page.getByText('No jobs here.').waitFor();
  await accessible(page, 'no jobs');
  await page.getByRole('link', {name: 'Models'}).click();
  await page.getByText('There are no models yet').waitFor();
  await page.getByRole('link', {name: 'Data sets'}).click();
  await page.getByText('There are no data sets yet').waitFor();
  page.check();
});

test('an upload: mistakes at their fields, progress, states, rejects', async () => {
  const upload = page.getByRole('button', {name: 'Upload', exact: true});
  await upload.click();
  await page.getByText('Choose an archive').waitFor();
  await field('Archive').setInputFiles(archive);
  assert.equal(await field('Name').inputValue(), 'drawn-faces');
  await field('Size in pixels').fill('13');
  await upload.click();
  await page.locator('#size-error').getByText('a multiple of 8').waitFor();
  assert.equal(await field('Size in pixels').getAttribute('aria-invalid'), 'true');
  await accessible(page, 'upload with a mistake');
  await field('Size in pixels').fill('48');
  await field('Name').fill('two words');
  await upload.click();
  await page.locator('#name-error').getByText('name').waitFor();
  await field('Name').fill('drawn-faces');
  await upload.click();
  await page.getByRole('row', {name: /drawn-faces ready 12 72/}).waitFor();
  await page.getByRole('link', {name: 'drawn-faces'}).click();
  await page.getByRole('cell', {name: '<img src=x onerror=alert(1)>.jpg'}).waitFor();
  await accessible(page, 'data set');
  await nothingRan();
  page.check();
});

test('a job by keyboard alone, its mistakes told at their fields', async () => {
  await go('jobs');
  await page.getByText('No jobs here.').waitFor();
  await tabTo('New job');
  await page.keyboard.press('Enter');
  await page.getByRole('heading', {name: 'New job'}).waitFor();
  await field('Dataset (needed)').waitFor();
  await page.waitForFunction(() => document.activeElement?.tagName === 'H1'); // where reading goes on
  await tabTo('Train epochs');
  await page.keyboard.type('0');
  await tabTo('Model input');
  await page.keyboard.type('wide');
  await page.keyboard.press('Enter');
  await page.getByText('values have to be corrected').waitFor();
  await accessible(page, 'form with mistakes');
  assert.equal(await field('Train epochs').getAttribute('aria-invalid'), 'true');
  assert.match(await field('Model input').locator('..').locator('.error').innerText(), /integer/);
  await shoot(page, 'form');
  await tabTo('/train/epochs');
  await page.keyboard.press('Enter'); // to the field
  assert.equal(await page.evaluate(() => document.activeElement.labels[0].textContent), 'Train epochs');
  await page.keyboard.press('Control+A');
  await page.keyboard.type(String(EPOCHS));
  await tabTo('Model input');
  await page.keyboard.press('Control+A');
  await page.keyboard.type('32');
  await tabTo('Dataset (needed)', true);
  await page.keyboard.type('drawn-faces');
  await unfold('Model');
  await tabTo('Width');
  await page.keyboard.type('0.25');
  await unfold('Audit');
  await tabTo('Attacks');
  await page.keyboard.press('Space');
  await tabTo('linear');
  await page.keyboard.press('Space');
  await field('Audit effort').selectOption({label: 'quick'});
  await tabTo('Submit');
  await page.keyboard.press('Enter');
  await page.waitForURL(/#\/jobs\/job_/);
  trained = decodeURIComponent(page.url().split('/').pop());
  const {spec} = await server.ask('GET', `/v1/jobs/${trained}`);
  assert.deepEqual(
    [
      spec.dataset,
      spec.train.epochs,
      spec.model.input,
      spec.model.width,
      spec.audit.attacks,
      spec.audit.effort,
    ],
    ['drawn-faces', EPOCHS, 32, 0.25, ['linear'], 'quick'],
  );
  page.check();

  async function unfold(name) {
    await page.locator('summary', {hasText: name}).first().focus();
    await page.keyboard.press('Enter');
  }
});

// Presses Tab until what has the focus is named so; the whole page is walked through at most once.
async function tabTo(name, back = false) {
  for (let i = 0; i < 150; i++) {
    await page.keyboard.press(back ? 'Shift+Tab' : 'Tab');
    const here = await page.evaluate(() => {
      const at = document.activeElement;
      return (at.labels?.[0] ?? at).textContent.trim();
    });
    if (here === name) return;
  }
  assert.fail(`the keyboard does not reach ${name}`);
}

test('the job is watched live to its end', async () => {
  await page.locator('main .badge.succeeded').waitFor({timeout: 240000});
  await page.locator('.curves canvas').nth(5).waitFor();
  await page.getByRole('heading', {name: 'Shares of k'}).waitFor();
  assert.match(await page.locator('.log').innerText(), /running/);
  await shoot(page, 'job');
  await page.getByText('Figures as a table').click();
  await page.getByRole('columnheader', {name: 'strategy.pi_2'}).waitFor();
  assert.equal(await page.locator('details table tbody tr').count(), EPOCHS);
  const curve = page.getByRole('button', {name: /equal error rate/});
  await curve.click();
  assert.equal(await curve.getAttribute('aria-pressed'), 'false');
  await accessible(page, 'job');
  page.check();
});

test('the report, and a file that is what the daemon says', async () => {
  await page.getByRole('link', {name: 'Model and privacy report'}).click();
  await page.getByRole('heading', {name: /^Privacy:/}).waitFor();
  await page.getByRole('region', {name: 'Attacks and their verdicts'}).waitFor();
  const report = JSON.parse(
    await server
      .ask('GET', `/v1/models/${page.url().split('/').pop()}/files/report.json`)
      .then(JSON.stringify),
  );
  await page.getByText(report.headline.text).waitFor();
  await shoot(page, 'model');
  await page.locator('.report details summary').first().click();
  await page.getByText(report.attacks[0].surfaces[0].reason).waitFor();
  const waiting = page.waitForEvent('download');
  await page.getByRole('button', {name: 'Download model.safetensors'}).click();
  const download = await waiting;
  assert.equal(download.suggestedFilename(), 'model.safetensors');
  const got = createHash('sha256')
    .update(readFileSync(await download.path()))
    .digest('hex');
  const model = await server.ask('GET', `/v1/models/${page.url().split('/').pop()}`);
  assert.equal(got, model.files.find(({name}) => name === 'model.safetensors').sha256);
  await accessible(page, 'model');
  await nothingRan();
  page.check();
});

test('a job like another resolves to the same', async () => {
  const {spec} = await server.ask('GET', `/v1/jobs/${trained}`);
  await go(`new?from=${trained}`);
  await field('Dataset (needed)').waitFor();
  const body = JSON.parse(await page.locator('form.job pre').textContent());
  const again = await server.ask('POST', '/v1/jobs?dry_run=true', {body: JSON.stringify(body)});
  assert.deepEqual(again.spec, spec);
  await page.getByRole('button', {name: 'Check only'}).click();
  await page.getByText('All is in order').waitFor();
  page.check();
});

test('the form has what the schema has, whatever that will be', async () => {
  await page.route('**/openapi.json', async (route) => {
    const document = await (await route.fetch()).json();
    const {train, ...properties} = document.components.schemas.JobSpec.properties;
    const number = {type: 'number', minimum: 0, maximum: 9, default: 1};
    const kind = (name) => ({type: 'object', properties: {method: {const: name}, noise: number}});
    document.components.schemas.JobSpec.properties = {
      ...properties,
      defences: {type: 'array', items: {oneOf: [kind('first'), kind('second')]}},
      anything: {},
    };
    await route.fulfill({json: document});
  });
  await page.reload(); // the page read the schema before
  await go('new?dataset=drawn-faces');
  await page.getByText('Queue and labels').click();
  await page.getByLabel('second').check();
  await page.getByLabel('Noise').nth(1).fill('0.5');
  await field('Anything').fill('{"a": [1]}');
  await field('Labels').fill('name = x = y');
  const body = JSON.parse(await page.locator('form.job pre').textContent());
  assert.deepEqual(body, {
    type: 'train',
    dataset: 'drawn-faces',
    defences: [{method: 'second', noise: 0.5}],
    anything: {a: [1]},
    labels: {name: 'x = y'},
  });
  await accessible(page, 'other fields');
  await page.unroute('**/openapi.json');
  await page.reload();
  page.check();
});

test('a model nobody attacked is held back', async () => {
  const {model} = await server.ended((await server.submit(unaudited)).id);
  await go(`models/${model}`);
  const show = page.getByRole('button', {name: 'Show report and files'});
  assert.equal(await show.isDisabled(), true);
  assert.equal(await page.getByRole('button', {name: 'Download model.onnx'}).count(), 0);
  await accessible(page, 'unaudited model');
  await page.getByLabel(/I know that this model is not audited/).check();
  await show.click();
  const waiting = page.waitForEvent('download');
  await page.getByRole('button', {name: 'Download model.onnx'}).click();
  assert.equal((await waiting).suggestedFilename(), 'model.onnx');
  await page.getByRole('link', {name: 'Audit again'}).click();
  await page.waitForURL(/type=audit/);
  assert.equal(await field('Model (needed)').inputValue(), model);
  page.check();
});

test('pause, resume and cancel, with labels that are no markup and what a level costs', async () => {
  const {id} = await server.submit({...endless, mask: {level: 'low'}});
  await go('jobs');
  const row = page.getByRole('row').filter({hasText: HOSTILE});
  await row.getByText('running').waitFor();
  await row.getByText(/epoch \d+ of 1000/i).waitFor();
  await row.getByRole('button', {name: /^Pause/}).click();
  await row.getByText('paused').waitFor();
  await row.getByRole('button', {name: /^Resume/}).click();
  await row.getByText('running').waitFor();
  await go(`jobs/${id}`);
  await page.locator('.curves canvas').first().waitFor();
  await page.getByText(HOSTILE).first().waitFor();
  await page.getByText(/^low, as measured on 200 people/).waitFor();
  await page.getByText('0.075 in use, 0.075 trained on, without a mask 0.275').waitFor();
  await page.getByRole('button', {name: /^Cancel/}).click();
  await accessible(page, 'dialog');
  await page.keyboard.press('Escape'); // not yet
  await page.locator('main .badge.running').waitFor();
  await page.getByRole('button', {name: /^Cancel/}).click();
  await page.getByRole('button', {name: 'Cancel the job'}).click();
  await page.locator('main .badge.canceled').waitFor();
  await nothingRan();
  page.check();
});

test('several runs in one plot', async () => {
  await go('jobs');
  await page.getByRole('checkbox').nth(2).waitFor();
  for (const box of await page.getByRole('checkbox').all()) await box.check();
  await page.getByRole('link', {name: 'Compare 3'}).click();
  await page.locator('.curves canvas').waitFor();
  assert.equal(await page.locator('.legend button').count(), 3);
  await page.getByRole('cell', {name: 'mask.method'}).waitFor(); // what differs
  await field('Metric').selectOption('loss');
  await page.getByRole('heading', {name: 'loss'}).waitFor();
  await accessible(page, 'compare');
  await nothingRan();
  page.check();
});

test('on a phone, light and dark: all fits and can be read', async () => {
  const {model} = await server.ask('GET', `/v1/jobs/${trained}`);
  const dataset = (await server.ask('GET', '/v1/datasets')).data[0].id;
  const places = [
    'jobs',
    `jobs/${trained}`,
    'new',
    'models',
    `models/${model}`,
    'datasets',
    `datasets/${dataset}`,
    `compare?jobs=${trained}`,
    'tokens',
    'audit',
  ];
  for (const options of [
    {viewport: {width: 375, height: 740}, hasTouch: true, isMobile: true},
    {colorScheme: 'dark'},
    {viewport: {width: 375, height: 740}, colorScheme: 'dark'},
  ]) {
    const small = await open(browser, server.url, options);
    for (const place of places) {
      await small.goto(`${server.url}/#/${place}`);
      await small.locator('h1').waitFor();
      await small.waitForLoadState('networkidle').catch(() => {});
      const [wide, room] = await small.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
      assert.ok(wide <= room, `${place} is ${wide} wide in ${room}`);
      await accessible(small, `${place} ${JSON.stringify(options)}`);
    }
    await small.goto(`${server.url}/#/jobs/${trained}`);
    await small.locator('.curves canvas').first().waitFor();
    if (options.viewport && options.colorScheme) await shoot(small, 'phone');
    small.check();
    await small.context().close();
  }
});

test('the theme is switched and kept', async () => {
  const other = await open(browser, server.url, {colorScheme: 'light'});
  const background = () => other.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const light = await background();
  await other.getByLabel('Colour theme').selectOption('dark');
  const dark = await background();
  assert.notEqual(dark, light);
  await other.reload();
  assert.equal(await background(), dark);
  await other.getByLabel('Colour theme').selectOption('');
  assert.equal(await background(), light);
  other.check();
  await other.context().close();
});

test('a daemon that is gone and comes back: the job is watched on', async () => {
  const {id} = await server.submit(endless);
  await go(`jobs/${id}`);
  await page.locator('.live', {hasText: 'live'}).waitFor();
  const {port} = new URL(server.url);
  await server.stop();
  await page.getByText('No connection').waitFor();
  await server.start(`--listen=127.0.0.1:${port}`);
  await page.getByText('No connection').waitFor({state: 'hidden'});
  await page.locator('.live', {hasText: 'live'}).waitFor();
  await server.ask('POST', `/v1/jobs/${id}/cancel`);
  await page.locator('.log').getByText('canceled').waitFor(); // which came by the new stream
  await page.locator('main .badge.canceled').waitFor();
});

test('erasing asks first', async () => {
  await go('models');
  await page.getByRole('link', {name: /^ahm on/}).click();
  await page.getByRole('button', {name: 'Delete'}).click();
  const yes = page.getByRole('button', {name: 'Delete it'});
  assert.equal(await yes.isDisabled(), true);
  await page.getByLabel(/I want to delete/).check();
  await yes.click();
  await page.waitForURL(/#\/models$/);
  assert.equal((await server.ask('GET', '/v1/models')).data.length, 1);
  await go('datasets');
  await page.getByRole('button', {name: 'Erase drawn-faces'}).click();
  await page.getByLabel(/I want to erase/).check();
  await page.getByRole('button', {name: 'Erase it'}).click();
  await page.getByText('There are no data sets yet').waitFor();
});
