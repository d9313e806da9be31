/**
 * How much of the machine's matrix speed the LoRA step reaches: its GFLOP/s over the best plain Gemm of the same runtime, measured
 * in the same process, at 4 × 256 tokens, all labelled. Low-rank parts and everything elementwise count as time, not as work.
 */
import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { pack } from '../src/data/batches.ts';
import { Graph } from '../src/graph/graph.ts';
import { gemm } from '../src/graph/ops/linear.ts';
import { encodeModel } from '../src/graph/proto.ts';
import { initAdapter } from '../src/lora/init.ts';
import { loraLayout } from '../src/lora/layout.ts';
import { attentionBlocks } from '../src/models/compile.ts';
import type { LlamaConfig } from '../src/models/config.ts';
import { projectionsOf } from '../src/models/weights.ts';
import type { PackedBatch } from '../src/runtime/engine.ts';

import { openModelFolder } from '../src/formats/files/model.ts';
import { openEngine } from '../src/runtime/node/open.ts';
import { float32 } from '../src/runtime/session.ts';
import { openSession } from '../src/runtime/node/session.ts';
import { stream } from '../src/tensor/random.ts';
import { llama42m, smollm2 } from './support/models.ts';
import { allLinear, fullBatches } from './support/work.ts';

const threads = availableParallelism();
const RUNS = 5;

const say = (figure: string, value: number, unit: string, more: object = {}): void =>
  console.log(JSON.stringify({ figure, value: Number(value.toPrecision(4)), unit, ...more }));

/** Seconds of the fastest of `count` runs, after one that is not counted. */
async function fastest(run: () => Promise<unknown>, count: number): Promise<number> {
  await run();
  let best = Infinity;
  for (let i = 0; i < count; i++) {
    const start = performance.now();
    await run();
    best = Math.min(best, (performance.now() - start) / 1000);
  }
  return best;
}

/** GFLOP/s of the plain product of n tokens with the model's widest projection. */
async function plainGemm(n: number, { hiddenSize, intermediateSize }: LlamaConfig): Promise<number> {
  const g = new Graph();
  const x = g.input('x', 'float32', ['n', hiddenSize]);
  const w = g.input('w', 'float32', [intermediateSize, hiddenSize]);
  g.output('y', gemm(g, x, w, { transB: true }));
  const model = encodeModel(g.finish(() => ({ location: '', offset: 0, length: 0 })));
  const session = await openSession(model, undefined, { threads });
  const random = stream(1, 'benchmarks', 'gemm');
  const matrix = (rows: number, columns: number) =>
    float32(
      [rows, columns],
      Float32Array.from({ length: rows * columns }, () => random.normal()),
    );
  const feeds = { x: matrix(n, hiddenSize), w: matrix(intermediateSize, hiddenSize) };
  const best = await fastest(() => session.run(feeds), 30);
  await session.close();
  return (2e-9 * n * hiddenSize * intermediateSize) / best;
}

/** Matrix work that one step does, in GFLOP: every weight forward and back, the head on labelled rows, attention's six products in blocks. */
function stepWork(config: LlamaConfig, { ids, length, labelled }: PackedBatch): number {
  const linear = projectionsOf(config).reduce((sum, { inFeatures, outFeatures }) => sum + inFeatures * outFeatures, 0);
  const head = config.vocabularySize * config.hiddenSize;
  const blocks = attentionBlocks(config);
  const keys = (length * (blocks + 1)) / (2 * blocks);
  const attention = config.layers * config.heads * config.headDim * keys;
  return 1e-9 * (4 * ids.length * linear + 4 * labelled.length * head + 12 * ids.length * attention);
}

async function measure(name: string, folder: string): Promise<void> {
  const model = await openModelFolder(folder);
  const { config } = model;
  const [work] = fullBatches(config.vocabularySize, 1);
  const rows = work!.ids.map((ids, i) => ({
    id: `${i}`,
    ids: Int32Array.from(ids),
    labelled: new Uint8Array(ids.length).fill(1),
  }));
  const batch = pack(rows);
  const layout = loraLayout(projectionsOf(config), allLinear);
  const { factors } = initAdapter(layout, 1);
  const engine = await openEngine({ model, layout, runtime: { threads } });
  const seconds = await fastest(() => engine.step(factors, batch, 'AB'), RUNS);
  await engine.close();
  const plain = await plainGemm(batch.ids.length, config);
  const reached = stepWork(config, batch) / seconds;
  const anonymous = /RssAnon:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))?.[1];
  say(`${name}: matrix speed of the LoRA step, best plain Gemm = 1`, reached / plain, 'ratio', {
    gflops: Math.round(reached),
    plainGflops: Math.round(plain),
    tokensPerSecond: Math.round(batch.ids.length / seconds),
    seconds,
    threads,
    anonymousBytesAfter: Number(anonymous) * 1024,
  });
}

await measure('llama42m', await llama42m());
const small = smollm2();
if (small === undefined) console.error('SmolLM2 left out: set FEDLORA_SHARED');
else await measure('smollm2', small);
