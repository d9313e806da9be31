import { stream } from '../tensor/random.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { zeros } from '../tensor/tensors.ts';
import { type Adapter, keyOfA, keyOfB, type LoraLayout } from './adapter.ts';

/**
 * A fresh adapter that changes nothing yet: B = 0, and A uniform in [−1/√in, 1/√in), PEFT's kaiming_uniform_(a = √5).
 * A module's A comes from a stream of its own: it depends on the seed and the module's name, not on what else is adapted
 * nor (row by row) on the rank.
 */
export function initAdapter(layout: LoraLayout, seed: number): Adapter {
  const factors = new Map<string, Tensor>();
  for (const { name, rank, inFeatures, outFeatures } of layout.modules) {
    const random = stream(seed, 'lora_A', name);
    const bound = 1 / Math.sqrt(inFeatures);
    const a = zeros([rank, inFeatures]);
    for (let i = 0; i < a.data.length; i++) a.data[i] = (2 * random.uniform() - 1) * bound;
    factors.set(keyOfA(name), a);
    factors.set(keyOfB(name), zeros([outFeatures, rank]));
  }
  return { layout, factors };
}
