/**
 * How fast and how lean the LoRA step is: one JSON line a figure.
 *
 *     node step.js MODEL_FOLDER|42m [--rows 4] [--length 256] [--labelled 1] [--threads N] [--runs 5] [--targets all|qv] [--want AB]
 *
 * `share` is the step's matrix GFLOP/s over the best plain Gemm of the same runtime, measured in the same process.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Worker } from 'node:worker_threads';
import { encodeSafetensors } from '../src/formats/safetensors.ts';
import { Graph } from '../src/graph/graph.ts';
import { gemm } from '../src/graph/ops/linear.ts';
import { encodeModel } from '../src/graph/proto.ts';
import { keyOfA, keyOfB } from '../src/lora/adapter.ts';
import { loraLayout } from '../src/lora/layout.ts';
import { parseConfig, type LlamaConfig } from '../src/models/config.ts';
import { projectionsOf, weightShapes } from '../src/models/weights.ts';
import type { PackedBatch } from '../src/runtime/engine.ts';
import { float32 } from '../src/runtime/feeds.ts';
import { openEngine, readModel } from '../src/runtime/node/open.ts';
import { openSession } from '../src/runtime/node/session.ts';
import type { Tensor } from '../src/tensor/tensor.ts';

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    rows: { type: 'string', default: '4' },
    length: { type: 'string', default: '256' },
    labelled: { type: 'string', default: '1' },
    threads: { type: 'string', default: '2' },
    runs: { type: 'string', default: '5' },
    targets: { type: 'string', default: 'all' },
    want: { type: 'string', default: 'AB' },
    arena: { type: 'string', default: 'on' },
  },
});
const threads = Number(options.threads);
const runs = Number(options.runs);
const print = (figure: Readonly<Record<string, unknown>>): void => console.log(JSON.stringify(figure));

/** Watches anonymous memory from a thread of its own, since a run blocks this one. */
const peakBytes = new BigInt64Array(new SharedArrayBuffer(8));
const watcher = new Worker(
  `const { workerData } = require('node:worker_threads'); const { readFileSync } = require('node:fs');
   const peak = new BigInt64Array(workerData);
   setInterval(() => {
     const kb = /RssAnon:\\s+(\\d+)/.exec(readFileSync('/proc/self/status', 'utf8'));
     const bytes = BigInt(kb ? kb[1] : 0) * 1024n;
     if (bytes > peak[0]) peak[0] = bytes;
   }, 5);`,
  { eval: true, workerData: peakBytes.buffer },
);

/** Random numbers of about unit size times `scale`. */
function noise(count: number, scale: number): Float32Array {
  let x = 12345;
  return Float32Array.from({ length: count }, () => {
    x = (Math.imul(1664525, x) + 1013904223) >>> 0;
    return (x / 2 ** 31 - 1) * scale;
  });
}

/** The 42-million-parameter Llama of TinyStories' size, with random weights. */
function tinyLlama(): string {
  const folder = mkdtempSync(join(tmpdir(), 'fedlora-42m-'));
  const json = {
    model_type: 'llama',
    hidden_size: 512,
    intermediate_size: 1376,
    num_hidden_layers: 8,
    num_attention_heads: 8,
    vocab_size: 32_000,
    max_position_embeddings: 1024,
    rms_norm_eps: 1e-5,
    tie_word_embeddings: true,
  };
  writeFileSync(join(folder, 'config.json'), JSON.stringify(json));
  const tensors = new Map<string, Tensor>();
  for (const [name, shape] of weightShapes(parseConfig(json, 'config.json'))) {
    const count = shape.reduce((product, size) => product * size, 1);
    tensors.set(name, { shape, data: shape.length === 1 ? new Float32Array(count).fill(1) : noise(count, 0.05) });
  }
  writeFileSync(join(folder, 'model.safetensors'), encodeSafetensors(tensors, 'F32'));
  return folder;
}

/** Seconds of each run, after one that is not counted. */
async function time(run: () => Promise<unknown>, count: number): Promise<number[]> {
  await run();
  const seconds: number[] = [];
  for (let i = 0; i < count; i++) {
    const start = performance.now();
    await run();
    seconds.push((performance.now() - start) / 1000);
  }
  return seconds.toSorted((a, b) => a - b);
}

/** The best GFLOP/s of one plain matrix product of the model's MLP shape. */
async function plainGemm(n: number, { hiddenSize, intermediateSize }: LlamaConfig): Promise<number> {
  const g = new Graph();
  const x = g.input('x', 'float32', ['n', hiddenSize]);
  const w = g.input('w', 'float32', [intermediateSize, hiddenSize]);
  g.output('y', gemm(g, x, w, { transB: true }));
  const session = await openSession(encodeModel(g.finish(() => ({ location: '', offset: 0, length: 0 }))), undefined, {
    threads,
  });
  const feeds = {
    x: float32([n, hiddenSize], noise(n * hiddenSize, 1)),
    w: float32([intermediateSize, hiddenSize], noise(intermediateSize * hiddenSize, 1)),
  };
  const [best] = await time(() => session.run(feeds), 20);
  await session.close();
  return (2e-9 * n * hiddenSize * intermediateSize) / (best as number);
}

function fullBatch(rows: number, length: number, share: number, vocabulary: number): PackedBatch {
  const n = rows * length;
  const all = Array.from({ length: n }, (_, i) => i);
  const labelled = all.filter((i) => i % length >= (1 - share) * (length - 1) && i % length < length - 1);
  const ids = Int32Array.from(noise(n, vocabulary / 2), (x) => Math.floor(x + vocabulary / 2));
  return {
    rows,
    length,
    ids,
    positions: Int32Array.from(all, (i) => i % length),
    slots: Int32Array.from(all),
    labelled: Int32Array.from(labelled),
    targets: Int32Array.from(labelled, (i) => ids[i + 1] as number),
  };
}

/** Matrix work of one step in FLOP: all weights forward and back, the head on labelled rows, attention; no low-rank parts. */
function stepFlop(config: LlamaConfig, { rows, length, labelled }: PackedBatch): number {
  const n = rows * length;
  const linear = projectionsOf(config).reduce((sum, { inFeatures, outFeatures }) => sum + inFeatures * outFeatures, 0);
  const head = config.vocabularySize * config.hiddenSize;
  const attention = config.layers * config.heads * config.headDim * length;
  return 4 * n * linear + 4 * labelled.length * head + 12 * n * attention;
}

const made = positionals[0] === '42m' ? tinyLlama() : undefined;
const folder = made ?? positionals[0] ?? '';
const model = await readModel(folder);
const { config } = model;
const targets =
  options.targets === 'all'
    ? ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj']
    : ['q_proj', 'v_proj'];
const layout = loraLayout(projectionsOf(config), { targets, rank: 8, alpha: 16 });
const factors = new Map<string, Tensor>();
for (const { name, rank, inFeatures, outFeatures } of layout.modules) {
  factors.set(keyOfA(name), { shape: [rank, inFeatures], data: noise(rank * inFeatures, 0.03) });
  factors.set(keyOfB(name), { shape: [outFeatures, rank], data: noise(rank * outFeatures, 0.01) });
}
const batch = fullBatch(Number(options.rows), Number(options.length), Number(options.labelled), config.vocabularySize);
const tokens = batch.ids.length;

const peak = await plainGemm(tokens, config);
print({ figure: 'plain Gemm', gflops: peak, threads });
const opening = performance.now();
const engine = await openEngine({ model, layout, runtime: { threads, arena: options.arena === 'on' } });
const want = options.want as 'A' | 'B' | 'AB';
const first = performance.now();
await engine.step(factors, batch, want);
const cpu = process.cpuUsage();
const seconds = await time(() => engine.step(factors, batch, want), runs);
const used = process.cpuUsage(cpu);
const best = seconds[0] as number;
const flop = stepFlop(config, batch);
print({
  figure: 'LoRA step',
  rows: batch.rows,
  length: batch.length,
  labelled: batch.labelled.length,
  openMs: Math.round(first - opening),
  seconds: best,
  median: seconds[seconds.length >> 1],
  cpuSecondsPerStep: (used.user + used.system) / 1e6 / (runs + 1),
  tokensPerSecond: tokens / best,
  gflops: flop / best / 1e9,
  share: flop / best / 1e9 / peak,
});
print({ figure: 'peak anonymous memory', megabytes: Number(peakBytes[0]) / 1e6 });
await engine.close();
await watcher.terminate();
if (made) rmSync(made, { recursive: true });
