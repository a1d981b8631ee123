// report.json as a page (schema/report.schema.json). Figures only: pictures, even of drawn faces, are in report.html.
import {button, facts, h, table} from './dom.js';
import {count, defenceText, duration, figure, interval, percent, when} from './format.js';

export const verdictBadge = (verdict) =>
  h('span', {class: `badge verdict ${verdict.replaceAll(' ', '-')}`}, verdict);

const box = {leaks: 'bad', resists: 'good'};

function linkageTable(linkage) {
  if (!linkage.length)
    return h(
      'p',
      null,
      'Linkage, the measure that decides whether templates protect people, was not measured.',
    );
  return h(
    'div',
    null,
    table(
      'Templates linked to their person',
      [
        'Linked to the person',
        {text: 'Share (95 %)', class: 'number'},
        {text: 'Chance', class: 'number'},
        {text: 'Without a mask', class: 'number'},
        {text: 'On photographs', class: 'number'},
        '',
      ],
      linkage.map((entry) => [
        h('div', null, entry.surface_name, h('div', {class: 'soft'}, entry.metric)),
        interval(entry, percent),
        percent(entry.chance),
        percent(entry.control),
        percent(entry.ceiling),
        verdictBadge(entry.verdict),
      ]),
    ),
    h(
      'p',
      {class: 'soft'},
      'Whether a template tells whose face it is decides whether templates protect people. How alike pictures look is no measure of privacy by itself.',
    ),
  );
}

function headline({headline, data, guise_version: version}, download) {
  return h(
    'section',
    {class: `box verdict ${box[headline.verdict] ?? 'open'}`},
    h('h2', null, 'Privacy: ', headline.verdict),
    h('p', null, headline.text),
    linkageTable(headline.linkage ?? []),
    data?.synthetic
      ? h(
          'p',
          null,
          h('strong', null, 'Drawn faces. '),
          'The data set is drawn by a program: no figure here says anything about real faces.',
        )
      : null,
    h(
      'p',
      null,
      button('Download report.html', download, {class: 'small'}),
      h('span', {class: 'soft'}, ` written by guise ${version}`),
    ),
  );
}

function utility(entries) {
  if (!entries?.length) return h('p', {class: 'soft'}, 'Not measured: nobody was held out of training.');
  return table(
    'Verification',
    [
      'Pairs of',
      'View',
      {text: 'Accuracy (95 %)', class: 'number'},
      {text: 'Equal error rate', class: 'number'},
      {text: 'TAR at FAR 1 %', class: 'number'},
      {text: 'TAR at FAR 0.1 %', class: 'number'},
      {text: 'Rank-1 among them', class: 'number'},
      {text: 'Pairs, same + different', class: 'number'},
    ],
    entries.map((entry) => [
      `${entry.protocol}, ${entry.dataset}${entry.pairs ? ` / ${entry.pairs}` : ''}`,
      entry.view,
      interval(entry.accuracy, percent),
      percent(entry.eer),
      percent(entry['tar_at_far_1e-2']),
      percent(entry['tar_at_far_1e-3']),
      percent(entry.rank_1),
      `${count(entry.positives)} + ${count(entry.negatives)}`,
    ]),
  );
}

// ---- attacks ----

// The metric that a surface's verdict rests on.
const deciding = (surface) => surface.metrics.find(({name}) => name === surface.decided_by);

function attackTable(attacks) {
  const rows = attacks.flatMap((attack) =>
    attack.surfaces.map((surface) => {
      const metric = deciding(surface);
      return [
        h('div', null, h('strong', null, attack.attack), h('div', {class: 'soft'}, attack.effort)),
        surface.surface_name,
        verdictBadge(surface.verdict),
        metric ? `${metric.name}${metric.unit ? ` (${metric.unit})` : ''}` : '–',
        interval(metric?.value),
        figure(surface.threshold),
        figure(metric?.chance),
        figure(metric?.control?.mean),
      ];
    }),
  );
  return table(
    'Attacks and their verdicts',
    [
      'Attack',
      'On',
      'Verdict',
      'Measured by',
      {text: 'With the mask (95 %)', class: 'number'},
      {text: 'Leaks above', class: 'number'},
      {text: 'Chance', class: 'number'},
      {text: 'Without the mask', class: 'number'},
    ],
    rows,
  );
}

function surfaceDetails(surface) {
  return h(
    'section',
    null,
    h('h4', null, surface.surface_name, ' ', verdictBadge(surface.verdict)),
    h('p', null, surface.reason),
    h('p', {class: 'soft'}, surface.threat_model),
    table(
      `Figures on ${surface.surface_name}`,
      [
        'Figure',
        {text: 'With the mask (95 %)', class: 'number'},
        {text: 'Worst tenth', class: 'number'},
        {text: 'Chance', class: 'number'},
        {text: 'Without the mask', class: 'number'},
        {text: 'Needed there', class: 'number'},
        {text: 'Ceiling', class: 'number'},
      ],
      surface.metrics.map((metric) => [
        h(
          'div',
          null,
          metric.name === surface.decided_by ? h('strong', null, metric.name) : metric.name,
          metric.unit ? ` (${metric.unit})` : '',
          h('div', {class: 'soft'}, metric.description),
        ),
        interval(metric.value),
        figure(metric.worst_tenth),
        figure(metric.chance),
        figure(metric.control?.mean),
        figure(metric.control_threshold),
        figure(metric.ceiling),
      ]),
    ),
  );
}

/** Who said whom the drawings show. */
function judgedBy(evaluator) {
  if (!evaluator) return null;
  return h(
    'p',
    {class: 'soft'},
    `Judged by a network of the architecture ${evaluator.arch}`,
    evaluator.images ? `, trained on ${count(evaluator.images)} photographs of these people` : '',
    evaluator.unseen
      ? ', none of which the model was trained on'
      : ', with what the model was trained on among them as far as is known',
    evaluator.accuracy === null
      ? ''
      : `; of photographs that the model was trained on it recognises ${percent(evaluator.accuracy)}`,
    '.',
  );
}

function attackDetails(attack) {
  return h(
    'details',
    null,
    h(
      'summary',
      null,
      h('strong', null, attack.attack),
      ` · ${attack.effort} · `,
      attack.surfaces.map(({verdict}) => [verdictBadge(verdict), ' ']),
    ),
    h('p', null, attack.summary),
    h(
      'p',
      {class: 'soft'},
      `${count(attack.faces)} faces of ${count(attack.people)} people, seed ${attack.seed}, ${duration(attack.seconds)}`,
      attack.public_faces ? `; the attacker learnt from ${count(attack.public_faces)} public faces` : '',
    ),
    judgedBy(attack.evaluator),
    attack.surfaces.map(surfaceDetails),
  );
}

function victimsOf({dataset = '', held_out: heldOut, provenance} = {}) {
  if (heldOut) return `${dataset}, held out`;
  if (provenance === 'trained') return `${dataset}, trained on`;
  return provenance === 'changed' ? `${dataset}, trained on or held out` : dataset;
}

function audits(entries) {
  const leftOut = entries?.some((audit) => audit.left_out?.length);
  if ((entries?.length ?? 0) < 2 && !leftOut) return null;
  return h(
    'div',
    null,
    h('h3', null, 'Audits'),
    h(
      'p',
      {class: 'soft'},
      'A leak counts whenever it was found; else of an attack on the same people the newest result of the highest effort, and of several groups of people the worst.',
    ),
    table(
      'Audits',
      ['When', 'Effort', 'Attacks', 'Attacked people of', 'Public faces', ...(leftOut ? ['Left out'] : [])],
      entries.map((audit) => [
        when(audit.created_at),
        audit.effort,
        audit.attacks.join(', '),
        victimsOf(audit.victims),
        audit.public_dataset ?? '–',
        ...(leftOut
          ? [(audit.left_out ?? []).map(({attack, reason}) => `${attack}: ${reason}`).join('; ') || '–']
          : []),
      ]),
    ),
  );
}

function gaps({not_measured: missing, formal}) {
  return h(
    'div',
    null,
    missing?.length
      ? [
          h('h3', null, 'What was not measured'),
          table(
            'What was not measured',
            ['Attack', 'Surface', 'What it would show'],
            missing.map(({attack, surface, what}) => [attack, surface, what]),
          ),
        ]
      : null,
    h(
      'p',
      null,
      h('strong', null, 'Formal guarantee: '),
      formal?.guarantee ?? 'none',
      typeof formal?.epsilon === 'number'
        ? `; epsilon ${figure(formal.epsilon)}, delta ${figure(formal.delta)}, unit: ${formal.unit}`
        : '',
    ),
  );
}

const sentences = (list) => (list?.length ? list.map((text) => h('div', null, text)) : null);

function conditions({data, mask, defences, model, cost}) {
  const group = (part) => (part ? `${count(part.identities)} people, ${count(part.images)} images` : null);
  return h(
    'details',
    null,
    h('summary', null, 'Data, mask and model'),
    facts([
      ['Data set', data.name],
      ['Masked by', data.masked_by === 'owner' ? 'the faces’ owner: images are templates here' : null],
      ['What that removes', sentences(data.removes)],
      ['What stays', sentences(data.stays)],
      ['Trained on', group(data.training)],
      ['Held out', group(data.held_out)],
      ['Mask', mask.method],
      ['What it does', mask.summary],
      ['Lowest frequencies dropped', count(mask.drop_low)],
      ['Channels kept of 192', count(mask.channels)],
      ['Key', mask.key ? 'yes' : null],
      [
        'Defences of the weights',
        defences?.length
          ? defences.map(({method, parameters}) => defenceText({method, ...parameters})).join(', ')
          : null,
      ],
      [
        'Lost by protected templates',
        mask.mixing?.protect_drop > 0
          ? `${mask.mixing.protect_drop} frequencies of each colour${mask.mixing.protect === 'drop' ? ', nothing is mixed' : ''}`
          : null,
      ],
      ['Faces in a template', mask.mixing ? figure(mask.mixing.mean_k) : null],
      [
        'Faces in a template, whole training',
        mask.mixing?.stored_mean_k == null ? null : figure(mask.mixing.stored_mean_k),
      ],
      ['Network', `${model.arch}, ${count(model.input)} pixels, embedding of ${count(model.embedding)}`],
      ['Epochs', count(model.epochs)],
      ['Training', cost.train_seconds ? duration(cost.train_seconds) : null],
      ['SHA-256 of the model', h('code', {class: 'hash'}, model.sha256)],
    ]),
  );
}

// download: gets report.html
export function reportView(report, download) {
  const attacks = report.attacks ?? [];
  return h(
    'div',
    {class: 'report'},
    headline(report, download),
    h('h2', null, 'What the model is good for'),
    utility(report.utility),
    h('h2', null, 'What attackers got'),
    attacks.length
      ? [attackTable(attacks), attacks.map(attackDetails)]
      : h('p', {class: 'soft'}, 'No attack was run.'),
    audits(report.audits),
    gaps(report),
    report.notes?.length
      ? h(
          'ul',
          {class: 'soft'},
          report.notes.map((note) => h('li', null, note)),
        )
      : null,
    conditions(report),
  );
}
