import type { LoraLayout } from '../../src/lora/adapter.ts';
import { loraLayout, type Projection } from '../../src/lora/layout.ts';
import type { Stage } from '../../src/methods/stage.ts';
import type { Tensor, Tensors } from '../../src/tensor/tensor.ts';
import { add, mapTensors, scale } from '../../src/tensor/tensors.ts';

const width = 1024;
const projections = Array.from({ length: 64 }, (_, i): Projection => {
  return { name: `model.layers.${i}.self_attn.q_proj`, inFeatures: width, outFeatures: width };
});

/** 64 modules of width 1024 whose rank makes about so many megabytes of float32. */
export const layoutOf = (megabytes: number): LoraLayout =>
  loraLayout(projections, {
    targets: ['q_proj'],
    rank: Math.max(1, Math.round((megabytes * 1e6) / 4 / projections.length / (2 * width))),
    alpha: 16,
  });

/** An adapter whose numbers differ from one another and from 0. */
export function factorsOf({ modules }: LoraLayout): Tensors {
  const filled = (shape: readonly [number, number], seed: number): Tensor => {
    const data = new Float32Array(shape[0] * shape[1]);
    for (let i = 0; i < data.length; i++) data[i] = 1e-3 * (((i * 7919 + seed) % 1009) - 504.5);
    return { shape, data };
  };
  return new Map(
    modules.flatMap(({ name, inFeatures, outFeatures, rank }, i) => [
      [`${name}.lora_A.weight`, filled([rank, inFeatures], i)],
      [`${name}.lora_B.weight`, filled([outFeatures, rank], i + 1)],
    ]),
  );
}

/** Federated averaging by clients that do not train: their update is a tenth of what they were sent. */
export const stageOf = (layout: LoraLayout): Stage<Tensors> => ({
  name: 'carried',
  rounds: 1,
  participants: 'sampled',
  combine: 'sum',
  start: ({ adapter }) => adapter.factors,
  broadcast: (shared) => shared,
  // oxlint-disable-next-line require-yield -- nothing is trained, so there is no progress
  async *work(received) {
    const update = mapTensors(received, ({ shape, data }) => ({ shape, data: data.map((value) => value / 10) }));
    return { update, weight: 1, mine: null };
  },
  apply: (shared, combined) => {
    if (combined.kind !== 'sum') throw new Error('this stage applies sums');
    return add(shared, scale(combined.sum, 1 / combined.weight));
  },
  models: (factors) => [{ adapter: { layout, factors }, weight: 1 }],
});
