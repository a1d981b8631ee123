// node compare.mjs DIRECTORY: runs the ONNX files that `guise-bench onnx PACK DIRECTORY` wrote in ONNX Runtime and
// prints, for each architecture and mask, the smallest cosine to the engine's own embeddings over all faces. Exit
// status 1 when one is below 0.9999. With decoys a face is several templates, whose embeddings are added.
//
// `between` is the mean cosine of neighbouring faces: near 1 it would mean that the comparison says nothing.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import ort from 'onnxruntime-node';

const LEAST = 0.9999;
const BATCH = 10;

const directory = process.argv[2];
if (!directory) {
  console.error('usage: node compare.mjs DIRECTORY');
  process.exit(2);
}
const index = JSON.parse(readFileSync(join(directory, 'index.json'), 'utf8'));

function floats(path) {
  const bytes = readFileSync(path);
  return new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
}

// (N,H,W,3) bytes to (N,3,H,W) floats
function planar(bytes, count, size) {
  const plane = size * size;
  const values = new Float32Array(count * 3 * plane);
  for (let n = 0; n < count; n++)
    for (let i = 0; i < plane; i++)
      for (let c = 0; c < 3; c++) values[(n * 3 + c) * plane + i] = bytes[(n * plane + i) * 3 + c];
  return values;
}

// values: of each face `mixes` inputs, whose embeddings of length 1 are added up
async function embed(path, name, values, shape, faces, mixes, length) {
  const session = await ort.InferenceSession.create(path, { intraOpNumThreads: 2 });
  const each = shape.reduce((a, b) => a * b);
  const sums = new Float64Array(faces * length);
  const inputs = faces * mixes;
  for (let first = 0; first < inputs; first += BATCH) {
    const count = Math.min(BATCH, inputs - first);
    const data = values.subarray(first * each, (first + count) * each);
    const { embedding } = await session.run({ [name]: new ort.Tensor('float32', data, [count, ...shape]) });
    for (let i = 0; i < count * length; i++)
      sums[Math.floor((first + Math.floor(i / length)) / mixes) * length + (i % length)] += embedding.data[i];
  }
  await session.release();
  return sums;
}

function cosine(a, i, b, j, length) {
  let ab = 0, aa = 0, bb = 0;
  for (let k = 0; k < length; k++) {
    const x = a[i * length + k], y = b[j * length + k];
    ab += x * y;
    aa += x * x;
    bb += y * y;
  }
  return ab / Math.sqrt(aa * bb);
}

function compare(expected, got, faces, length) {
  let least = 1, between = 0;
  for (let n = 0; n < faces; n++) {
    least = Math.min(least, cosine(expected, n, got, n, length));
    between += cosine(expected, n, expected, (n + 1) % faces, length) / faces;
  }
  return { least, between };
}

const images = planar(readFileSync(join(directory, 'faces.u8')), index.faces, index.size);
let bad = 0;
console.log(`faces of ${index.size} pixels, ONNX Runtime ${ort.env.versions.node ?? ort.env.versions.common}`);
console.log('architecture   mask              faces from       least cosine   1 - it     between');
for (const m of index.models) {
  const folder = join(directory, m.folder);
  const expected = floats(join(folder, 'embeddings.f32'));
  const starts = [
    ['template', 'model-template.onnx', floats(join(folder, 'templates.f32')), [m.channels, m.grid, m.grid], m.mixes],
  ];
  if (m.image) starts.unshift(['image', 'model.onnx', images, [3, index.size, index.size], 1]);
  for (const [name, file, values, shape, mixes] of starts) {
    const got = await embed(join(folder, file), name, values, shape, m.faces, mixes, m.embedding);
    const { least, between } = compare(expected, got, m.faces, m.embedding);
    const passed = least >= LEAST;
    bad += passed ? 0 : 1;
    console.log(`${m.arch.padEnd(14)} ${m.mask.padEnd(17)} ${String(m.faces).padStart(5)} ${name.padEnd(10)} ${least.toFixed(8)}     ${Math.max(0, 1 - least).toExponential(1).padEnd(10)} ${between.toFixed(3)}${passed ? '' : '   below ' + LEAST}`);
  }
}
process.exit(bad ? 1 : 0);
