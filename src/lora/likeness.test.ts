import { describe, expect, it } from 'vitest';
import { deltaOf } from '../../tests/support/delta.ts';
import { distance, randomFactors, toyLayout } from '../../tests/toy-adapter.ts';
import { tensor } from '../tensor/tensors.ts';
import { stack, stackAdapter } from './mix.ts';
import type { AdapterMix } from './adapter.ts';
import { hasLikeness, isByPrompt, shareOf, weighedFor } from './likeness.ts';

const layout = toyLayout();
const [local, global] = [1, 2].map((seed) => ({ layout, factors: randomFactors(layout, seed) }));
/** Prompts of the client's own at angles of 0 and 90 degrees, 3 and 5 long. */
const mix = (factor: number, references = tensor([2, 2], [3, 0, 0, 5])): AdapterMix => [
  { adapter: local!, weight: 0.5, likeness: { references, factor } },
  { adapter: global!, weight: 0.5 },
];
const at = (degrees: number, length = 2): Float32Array =>
  Float32Array.of(length * Math.cos((degrees * Math.PI) / 180), length * Math.sin((degrees * Math.PI) / 180));

describe('the share of the local adapter by likeness (FedDPA)', () => {
  it('is factor · the mean cosine with the references, whatever the lengths', () => {
    for (const degrees of [0, 30, 45, 80]) {
      const angle = (degrees * Math.PI) / 180;
      const expected = (0.5 * (Math.cos(angle) + Math.sin(angle))) / 2;
      for (const length of [1e-3, 2, 500])
        expect(shareOf(stack(mix(0.5)), at(degrees, length))).toBeCloseTo(expected, 6);
    }
  });

  it('stays within 0 … 1, for cosines may be negative, and zeros are like nothing', () => {
    expect(shareOf(stack(mix(1)), at(225))).toBe(0);
    expect(shareOf(stack(mix(1)), at(180))).toBe(0);
    expect(shareOf(stack(mix(1)), at(0, 0))).toBe(0);
    const same = mix(1, tensor([2, 2], [1, 1, 2, 2]));
    const share = shareOf(stack(same), at(45));
    expect(share).toBeLessThanOrEqual(1);
    expect(share).toBeCloseTo(1, 6);
    expect(shareOf(stack(mix(1, tensor([1, 2], [0, 0]))), at(45))).toBe(0);
  });

  it('weighs products: α·local + (1 − α)·global, and nothing of it is left beside the factors', () => {
    const factors = stack(mix(0.5));
    expect(hasLikeness(factors)).toBe(true);
    const weighed = weighedFor(layout, factors, [0.2, 0.8]);
    expect(hasLikeness(weighed)).toBe(false);
    const expected = stackAdapter([
      { adapter: local!, weight: 0.2 },
      { adapter: global!, weight: 0.8 },
    ]);
    expect([...weighed.keys()]).toEqual([...expected.factors.keys()]);
    const product = deltaOf({ layout: expected.layout, factors: weighed }, 'm0');
    expect(distance(product, deltaOf(expected, 'm0'))).toBeLessThan(1e-5);
  });

  it('is for a first of two parts', () => {
    const [first, second] = mix(0.5);
    expect(isByPrompt([second!])).toBe(false);
    for (const wrong of [[first!], [second!, first!], [first!, first!], [first!, second!, second!]])
      expect(() => isByPrompt(wrong)).toThrow('has two parts');
  });
});
