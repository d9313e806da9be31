/**
 * The linear algebra of single methods at the server, and the privacy accountants: one JSON line a figure.
 * FlexLoRA and FedEx-LoRA on one module of width 4096 at r 64 with 20 clients, beside what it takes to form one client's
 * 4096 × 4096 product, which neither of them does.
 */
import { noiseFor } from '../src/guard/accountant/noise.ts';
import { prvEpsilon } from '../src/guard/accountant/prv.ts';
import { rdpEpsilon } from '../src/guard/accountant/rdp.ts';
import { keyOfA, keyOfB } from '../src/lora/adapter.ts';
import { initAdapter } from '../src/lora/init.ts';
import { loraLayout } from '../src/lora/layout.ts';
import { mergeModule } from '../src/lora/merge.ts';
import { piecesOf } from '../src/methods/combine-factors.ts';
import { residual } from '../src/methods/fedex-lora.ts';
import { truncatedMean } from '../src/methods/flexlora.ts';
import { stream } from '../src/tensor/random.ts';
import type { Tensors } from '../src/tensor/tensor.ts';
import { mapTensors, zeros } from '../src/tensor/tensors.ts';
import { weightedSum } from '../src/tensor/weighted.ts';
import { print, rounded, timed, type Timed } from './support/figures.ts';

const [width, rank, clients] = [4096, 64, 20];
const name = 'model.layers.0.self_attn.q_proj';
const layout = loraLayout([{ name, inFeatures: width, outFeatures: width }], {
  targets: ['q_proj'],
  rank,
  alpha: rank,
});
const { factors } = initAdapter(layout, 1);
/** A common part and a client's own, of equal length: the more a client's differs, the flatter the spectrum. */
const common = around(factors, 'common');
const ends = Array.from({ length: clients }, (_, k) => around(common, `client ${k}`));
const parts = ends.map((end) => ({ of: piecesOf(end), share: 1 / clients }));

function around(centre: Tensors, who: string): Tensors {
  const { normal } = stream(1, 'benchmarks', who);
  return mapTensors(centre, ({ shape, data }) => ({ shape, data: data.map((x) => x + 0.01 * normal()) }));
}

const dense = timed(() => mergeModule({ layout, factors: common }, name, zeros([width, width])));
const about = { width, rank, clients };
const show = (figure: string, { seconds, processor }: Timed): void =>
  print(figure, seconds, 's', {
    processor: rounded(processor),
    of_one_dense_product: rounded(processor / dense.processor),
    ...about,
  });
show('one client’s dense product', dense);
const mean = weightedSum(ends.map((tensors) => ({ tensors, weight: 1 / clients })));
show(
  'FedEx-LoRA: residual',
  timed(() => residual(layout, parts, mean)),
);
let best: Tensors = new Map();
show(
  'FlexLoRA: truncated SVD of the mean product',
  timed(() => (best = truncatedMean(layout, 'B')(parts, factors))),
);
if (best.get(keyOfA(name))?.shape[0] !== rank || best.get(keyOfB(name))?.shape[1] !== rank)
  throw new Error('FlexLoRA gave factors of another rank');

for (const steps of [100, 10_000]) {
  const settings = { noise: 1, rate: 0.01, steps };
  const delta = 1e-5;
  const fastest = (call: () => unknown): Timed =>
    Array.from({ length: 3 }, () => timed(call)).reduce((a, b) => (a.seconds < b.seconds ? a : b));
  const rdp = fastest(() => rdpEpsilon([settings], delta));
  const question = { epsilon: 2, delta, rate: 0.01, steps };
  for (const [figure, time] of [
    ['RDP accountant: ε', rdp],
    ['PRV accountant: ε', fastest(() => prvEpsilon([settings], delta))],
    ['RDP accountant: noise for ε = 2', fastest(() => noiseFor({ ...question, accountant: 'rdp' }))],
    ['PRV accountant: noise for ε = 2', timed(() => noiseFor({ ...question, accountant: 'prv' }))],
  ] as const) {
    const { seconds, processor } = time;
    const of_rdp = rounded(processor / rdp.processor);
    print(figure, 1000 * seconds, 'ms', { processor: rounded(1000 * processor), of_rdp, rate: 0.01, steps, delta });
  }
}
