import { fromPayload, toPayload } from '../../src/federation/http/payload.ts';
import type { Adapter } from '../../src/lora/adapter.ts';
import { initAdapter } from '../../src/lora/init.ts';
import { loraLayout, type Projection } from '../../src/lora/layout.ts';
import type { Stage } from '../../src/methods/stage.ts';
import type { Tensors } from '../../src/tensor/tensor.ts';
import { add, mapTensors, scale } from '../../src/tensor/tensors.ts';

const width = 1024;
const projections = Array.from({ length: 32 }, (_, i): Projection => {
  return { name: `model.layers.${i}.self_attn.q_proj`, inFeatures: width, outFeatures: width };
});

/** 32 modules of width 1024 whose rank makes about so many megabytes of float32. */
export function adapterOf(megabytes: number): Adapter {
  const rank = Math.max(1, Math.round((megabytes * 1e6) / 4 / projections.length / (2 * width)));
  return initAdapter(loraLayout(projections, { targets: ['q_proj'], rank, alpha: 16 }), 1);
}

/** Federated averaging; clients hand back what they were sent, where anybody asks this side. */
export const averaging = (rounds: number, { layout }: Adapter): Stage<Tensors> => ({
  name: 'load',
  rounds,
  participants: 'sampled',
  combine: 'sum',
  start: ({ adapter }) => adapter.factors,
  broadcast: (shared) => shared,
  // oxlint-disable-next-line require-yield -- nothing is trained, so there is no progress
  async *work(received) {
    return { update: received, weight: 1, mine: null };
  },
  apply: (shared, combined) => {
    if (combined.kind !== 'sum') throw new Error('this stage applies sums');
    return add(shared, scale(combined.sum, 1 / combined.weight));
  },
  models: (factors) => [{ adapter: { layout, factors }, weight: 1 }],
});

/** Ready-made updates of this adapter's form: `own(i)` is client i's, of other bytes than any other's. */
export function updatesLike({ factors }: Adapter): { own(client: number): Uint8Array } {
  const update = mapTensors(factors, ({ shape, data }) => ({
    shape,
    data: Float32Array.from(data, (_, i) => 1e-4 * (((i * 7919) % 1009) - 504)),
  }));
  const whole = toPayload(update);
  const bytes = 4 * [...update.values()][0]!.data.length;
  const first = whole.length - [...update.values()].reduce((sum, { data }) => sum + data.byteLength, 0);
  if (fromPayload(whole, 'the update').size !== update.size || bytes > whole.length)
    throw new Error('the update is not what it should be');
  return {
    own(client) {
      const mine = whole.slice();
      new DataView(mine.buffer).setFloat32(first, 1e-6 * (client + 1), true);
      return mine;
    },
  };
}
