import { describe, expect, it } from 'vitest';
import { toyLayout } from '../../tests/toy-adapter.ts';
import { sameBits } from '../tensor/tensors.ts';
import { keyOfA, keyOfB } from './adapter.ts';
import { requireFactors } from './check.ts';
import { initAdapter } from './init.ts';

const shapes = { rank: 64, inFeatures: 400, outFeatures: 30 };

describe('initAdapter', () => {
  const layout = toyLayout({ modules: 3, ...shapes });
  const adapter = initAdapter(layout, 1);

  it('draws A uniformly from (−1/√in, 1/√in), as PEFT’s kaiming_uniform_(a = √5) does, and sets B to 0', () => {
    requireFactors(adapter);
    for (const { name } of layout.modules) {
      const { data } = adapter.factors.get(keyOfA(name))!;
      const n = data.length;
      const moment = (k: number): number => data.reduce((sum, x) => sum + (x * 20) ** k, 0) / n;
      expect(data.every((x) => Math.abs(x) <= 1 / 20)).toBe(true);
      expect(Math.max(...data) * 20).toBeGreaterThan(0.999);
      expect(Math.min(...data) * 20).toBeLessThan(-0.999);
      expect(Math.abs(moment(1))).toBeLessThan(4 * Math.sqrt(1 / 3 / n));
      expect(Math.abs(moment(2) - 1 / 3)).toBeLessThan(4 * Math.sqrt((1 / 5 - 1 / 9) / n));
      expect(Math.abs(moment(4) - 1 / 5)).toBeLessThan(4 * Math.sqrt((1 / 9 - 1 / 25) / n));
      expect(adapter.factors.get(keyOfB(name))!.data.every((x) => Object.is(x, 0))).toBe(true);
    }
  });

  it('is the same for the same seed, and another for each seed and module', () => {
    expect(sameBits(initAdapter(layout, 1).factors, adapter.factors)).toBe(true);
    const firsts = [1, 2].flatMap((seed) =>
      layout.modules.map(({ name }) => initAdapter(layout, seed).factors.get(keyOfA(name))!.data[0]),
    );
    expect(new Set(firsts).size).toBe(6);
  });

  it('gives a module the same A whatever else is adapted, and the same first rows at another rank', () => {
    const second = layout.modules[1]!;
    const alone = initAdapter({ modules: [second], rslora: false }, 1);
    expect(alone.factors.get(keyOfA('m1'))).toEqual(adapter.factors.get(keyOfA('m1')));
    const thin = initAdapter({ modules: [{ ...second, rank: 5 }], rslora: false }, 1);
    expect(thin.factors.get(keyOfA('m1'))!.data).toEqual(adapter.factors.get(keyOfA('m1'))!.data.subarray(0, 5 * 400));
  });

  it('begins as fixed, so that a change of the stream is noticed', () => {
    expect([...adapter.factors.get(keyOfA('m0'))!.data.subarray(0, 3)]).toEqual([
      -0.040437955409288406, -0.03830375894904137, -0.03519877418875694,
    ]);
  });
});
