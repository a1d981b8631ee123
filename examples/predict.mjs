#!/usr/bin/env node
// A model's prediction without the daemon: model.onnx in ONNX Runtime, from Node.js.
//
//   npm install --ignore-scripts onnxruntime-node     once, in the folder where you call this
//   node examples/predict.mjs DIRECTORY A [B]
//
// DIRECTORY is where `guise get` or quickstart put the model. A alone: prints its embedding. With B: prints the similarity, and the
// threshold at the smallest false accept rate that the model's verification could measure; exit status 0: one person, 1: two, 2: an
// error. Images are aligned crops: binary PGM and PPM are read here, others by ImageMagick's `convert`.
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';

function fail(text) {
  console.error(text);
  process.exit(2);
}

const [directory, ...paths] = process.argv.slice(2);
if (paths.length < 1 || paths.length > 2) fail('usage: node predict.mjs DIRECTORY A [B]');

let ort;
try {
  ort = createRequire(join(process.cwd(), 'package.json'))('onnxruntime-node');
} catch (error) {
  fail(`ONNX Runtime cannot be used: ${error.message.split('\n')[0]}\nnpm install --ignore-scripts onnxruntime-node, in this folder`);
}

// A binary PGM or PPM of at most 8 bits: {width, height, channels, values}.
function readPnm(path) {
  let file = readFileSync(path);
  if (!/^P[56]/.test(file.toString('latin1', 0, 2))) {
    try {
      file = execFileSync('convert', [path, '-depth', '8', 'ppm:-'], { maxBuffer: 1 << 30 });
    } catch (error) {
      fail(`${path} is no binary PGM or PPM, and ImageMagick's convert did not read it: ${error.message.split('\n')[0]}`);
    }
  }
  const header = /^P([56])(?:\s|#.*\n)+(\d+)(?:\s|#.*\n)+(\d+)(?:\s|#.*\n)+(\d+)\s/.exec(file.toString('latin1', 0, 1024));
  const [kind, width, height, most] = header ? header.slice(1).map(Number) : [];
  const channels = kind === 6 ? 3 : 1;
  if (!header || most > 255 || file.length < header[0].length + width * height * channels) fail(`${path} is damaged, or deeper than 8 bits`);
  return { width, height, channels, values: file.subarray(header[0].length), scale: 255 / most };
}

// The shares of the pixels of a line of `from` in pixel `at` of `to`: means when shrinking, linear in between when growing.
function shares(at, from, to) {
  const scale = from / to;
  if (scale > 1) {
    const begin = at * scale, end = Math.min(begin + scale, from), found = [];
    for (let i = Math.floor(begin); i < end; i++) found.push([i, (Math.min(end, i + 1) - Math.max(begin, i)) / (end - begin)]);
    return found;
  }
  const centre = Math.min(Math.max((at + 0.5) * scale - 0.5, 0), from - 1), first = Math.floor(centre);
  return first + 1 < from ? [[first, 1 - centre + first], [first + 1, centre - first]] : [[first, 1]];
}

// RGB in planes (3,side,side), 0 to 255, rounded as the daemon does it; for crops that are squares or nearly so.
function planes(image, side) {
  const out = new Float32Array(3 * side * side);
  for (let y = 0; y < side; y++)
    for (let x = 0; x < side; x++)
      for (let c = 0; c < 3; c++) {
        let sum = 0;
        for (const [j, down] of shares(y, image.height, side))
          for (const [i, across] of shares(x, image.width, side))
            sum += down * across * image.values[(j * image.width + i) * image.channels + (c % image.channels)];
        out[(c * side + y) * side + x] = Math.floor(sum * image.scale + 0.5);
      }
  return out;
}

const report = JSON.parse(readFileSync(join(directory, 'report.json'), 'utf8'));
const side = report.model.input;
const network = await ort.InferenceSession.create(join(directory, 'model.onnx'));
const embeddings = [];
for (const path of paths) {
  const image = new ort.Tensor('float32', planes(readPnm(path), side), [1, 3, side, side]);
  embeddings.push((await network.run({ image })).embedding.data); // of length 1
}

const [a, b] = embeddings;
if (!b) {
  console.log(a.join(' '));
} else {
  const similarity = a.reduce((sum, value, i) => sum + value * b[i], 0);
  const thresholds = report.utility[0] ?? {}; // one view of each face, as here
  const far = ['1e-3', '1e-2', '1e-1'].find((rate) => thresholds[`threshold_at_far_${rate}`] != null);
  if (!far) fail(`similarity ${similarity.toFixed(4)}; the model's verification had too few pairs for a threshold`);
  const threshold = thresholds[`threshold_at_far_${far}`];
  const one = similarity >= threshold;
  console.log(`${one ? 'one person' : 'two people'}: similarity ${similarity.toFixed(4)}, threshold ${threshold.toFixed(4)} at a false accept rate of ${Number(far)}`);
  process.exitCode = one ? 0 : 1;
}
