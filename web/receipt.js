// What an erasure erased, as guised answers it and as the audit trail keeps it. It names nobody.
import {facts, h} from './dom.js';
import {bytes, count, shortId, when} from './format.js';

const KINDS = {dataset: 'Data set', identity: 'Person', image: 'Image', model: 'Model', job: 'Job'};
const some = (value) => (value ? count(value) : null);

export function receiptView(receipt) {
  const files = receipt.files ?? [];
  const gone = files.filter(({erased}) => erased);
  const size = gone.reduce((sum, file) => sum + file.bytes, 0);
  return facts([
    ['Erased', KINDS[receipt.kind] ?? receipt.kind],
    ['Of', h('code', null, receipt.object)],
    ['When', when(receipt.at)],
    ['People', some(receipt.identities)],
    ['Images', some(receipt.images)],
    ['Rejected files forgotten', some(receipt.rejects)],
    ['Pairs lists', some(receipt.pairs)],
    ['Reports with faces, class heads', some(receipt.private_reports)],
    ['Reports that no longer show public faces', some(receipt.public_reports)],
    ['Files', `${count(gone.length)} of ${count(files.length)}, ${bytes(size)}`],
    ['Kept for others', some(receipt.kept)],
    [
      'Log of the database',
      receipt.log_emptied ? 'emptied' : 'not yet emptied: a later erasure or the next start does it',
    ],
    ['Older copies of the database', receipt.backups?.length ? receipt.backups.join(', ') : null],
    [
      'Models that have learnt from it',
      receipt.models?.length
        ? receipt.models.map((id) =>
            h('div', null, h('a', {href: `#/models/${encodeURIComponent(id)}`}, shortId(id))),
          )
        : null,
    ],
  ]);
}

export const receiptBox = (receipt, title) =>
  h('section', {class: 'box receipt', role: 'status'}, h('strong', null, title), receiptView(receipt));
