import { expect, test } from 'vitest';
import type { AdapterMix } from '../lora/adapter.ts';
import { initAdapter } from '../lora/init.ts';
import { differs } from './evaluation.ts';

const layout = { rslora: false, modules: [{ name: 'q', inFeatures: 4, outFeatures: 3, rank: 2, alpha: 2, scale: 1 }] };
const mix = (seed: number, weight = 1): AdapterMix => [{ adapter: initAdapter(layout, seed), weight }];

test('a personal model is one only where it differs from the global one in any bit or weight', () => {
  expect(differs(mix(1), mix(1))).toBeUndefined();
  expect(differs(undefined, mix(1))).toBeUndefined();
  for (const personal of [mix(2), mix(1, 0.5), [...mix(1), ...mix(2)]])
    expect(differs(personal, mix(1))).toBe(personal);
});
