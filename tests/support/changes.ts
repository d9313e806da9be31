import { expect } from 'vitest';
import { type Adapter, keyOfA, keyOfB } from '../../src/lora/adapter.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';

// What tests of the sensitivity study share.

const name = 'model.layers.3.self_attn.q_proj';

/** One projection's A and B as an adapter. */
export function oneModule(a: Tensor, b: Tensor): Adapter {
  const [rank, inFeatures] = a.shape as [number, number];
  const [outFeatures] = b.shape as [number, number];
  return {
    layout: { rslora: false, modules: [{ name, inFeatures, outFeatures, rank, alpha: 16, scale: 16 / rank }] },
    factors: new Map([
      [keyOfA(name), a],
      [keyOfB(name), b],
    ]),
  };
}

/** Close to so many parts of its size. */
export function close(found: number | null, expected: number, relative = 1e-12): void {
  // Asserting only what is wrong: thousands of `expect`s take seconds.
  const far = !(Math.abs((found ?? NaN) - expected) <= relative * Math.max(1, Math.abs(expected)));
  if (far) expect(found).toBe(expected);
}
