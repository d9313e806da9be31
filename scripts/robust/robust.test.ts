import { describe, expect, it } from 'vitest';
import { dot } from '../../tests/support/dot.ts';
import { norm, sameBits } from '../../src/tensor/tensors.ts';
import type { Tensors } from '../../src/tensor/tensor.ts';
import { armsOf, curveAttack, rules, type Outcome } from './arms.ts';
import { attackNames, attacks } from './attack.ts';
import { csv, tables } from './table.ts';

describe('what bad clients send', () => {
  const update: Tensors = new Map([
    ['x', { shape: [400], data: Float32Array.from({ length: 400 }, (_, i) => Math.sin(i)) }],
  ]);

  it('is the update turned round, made large, or noise that has nothing to do with it', () => {
    const [own, size] = [dot(update, update), norm(update)];
    expect(dot(attacks['flipped and scaled by 10'](update, 'a', 0), update) / own).toBeCloseTo(-10, 5);
    expect(dot(attacks['scaled by 100'](update, 'a', 0), update) / own).toBeCloseTo(100, 4);
    const random = attacks.random(update, 'a', 0);
    expect(norm(random) / size).toBeCloseTo(100, 4);
    // The cosine of independent directions in 400 dimensions has a standard deviation of 0.05.
    expect(Math.abs(dot(random, update)) / (norm(random) * size)).toBeLessThan(0.25);
  });

  it('is the same again for the same client and round, and other noise for others', () => {
    const random = attacks.random(update, 'a', 3);
    expect(sameBits(attacks.random(update, 'a', 3), random)).toBe(true);
    for (const other of [attacks.random(update, 'b', 3), attacks.random(update, 'a', 4)])
      expect(sameBits(other, random)).toBe(false);
  });
});

describe('the study', () => {
  it('runs every rule with 0 to 4 bad clients, and 2 of every kind', () => {
    const arms = armsOf(7);
    for (const rule of Object.keys(rules)) {
      const own = arms.filter((arm) => arm.rule === rule && arm.clients === rules[rule]!.clients);
      expect(own.map(({ attack, bad }) => `${bad} ${attack}`).sort()).toEqual(
        [
          '0 none',
          ...attackNames.map((attack) => `2 ${attack}`),
          ...[1, 3, 4].map((bad) => `${bad} ${curveAttack}`),
        ].sort(),
      );
    }
    expect(arms.filter(({ rule, clients }) => rule === 'weighted mean' && clients === 11)).toHaveLength(1);
  });

  it('tells losses and how far they are from the calm mean of as many clients', () => {
    const all = [1, 2].flatMap((seed) =>
      armsOf(seed).map((arm): Outcome => {
        const calm = arm.clients === 10 ? 2 : 4;
        const failed = arm.rule === 'Krum' && arm.bad === 4 && seed === 2;
        return { ...arm, base: 5, loss: failed ? null : (calm + seed) * (1 + arm.bad / 10) };
      }),
    );
    const text = tables(all);
    // Means over the seeds: 3.5 for 10 clients, 5.5 for 11.
    expect(text).toContain('| weighted mean | 3.500 (+0 %) | 4.200 (+20 %) | 4.200 (+20 %) | 4.200 (+20 %) |');
    expect(text).toContain('| Bulyan (11 clients) | 5.500 (+0 %) | 6.600 (+20 %) |');
    expect(text).toContain('| Krum | 3.500 (+0 %) | 3.850 (+10 %) | 4.200 (+20 %) | 4.550 (+30 %) | a round failed |');
    const lines = csv(all).trim().split('\n');
    expect(lines).toHaveLength(1 + all.length);
    expect(lines).toContain(`2,10,Krum,${curveAttack},4,,5.000000`);
  });
});
