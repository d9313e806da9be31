import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { stream } from '../../tensor/random.ts';
import type { Tensor, Tensors } from '../../tensor/tensor.ts';
import { norm, subtract } from '../../tensor/tensors.ts';
import { weightedMean } from '../../tensor/weighted.ts';
import { productDistances, squaredDistances } from './distances.ts';
import { krum } from './krum.ts';
import { robustMean, type RobustRule } from './rule.ts';

const dimension = 6;
/** Points in general position: with equal scores Krum takes the first, and then the order does count. */
const points = fc.integer().map((seed) => {
  const random = stream(seed, 'points');
  const vector = (draw: () => number): Tensors =>
    new Map([['x', { shape: [dimension], data: Float32Array.from({ length: dimension }, draw) }]]);
  const sizes = [0.1, 1, 3, 50, 1e6, 1e12, 1e30];
  const size = sizes[random.integer(sizes.length)]!;
  return {
    good: Array.from({ length: 9 }, () => vector(() => 2 * random.uniform() - 1)),
    // Together on one side, or each where it will.
    bad: Array.from({ length: 2 }, (_, i) =>
      vector(() => size * (seed % 2 === 0 ? 1 + i / 8 + random.uniform() / 8 : random.normal())),
    ),
    order: random.shuffle,
  };
});
const numbers = (tensors: Tensors): number[] => [...tensors.get('x')!.data];

/** For 11 updates, 2 of them bad. */
const rules: readonly RobustRule[] = [
  { rule: 'krum', bad: 2 },
  { rule: 'multi-krum', bad: 2 },
  { rule: 'multi-krum', bad: 2, keep: 4 },
  { rule: 'median' },
  { rule: 'trimmed-mean', share: 0.2 },
  { rule: 'geometric-median' },
  { rule: 'bulyan', bad: 2 },
];
describe.each(rules.map((rule) => [`${rule.rule}${'keep' in rule ? ` of ${rule.keep}` : ''}`, rule] as const))(
  '%s',
  (_, rule) => {
    it('does not depend on the order of the updates', () => {
      fc.assert(
        fc.property(points, ({ good, bad, order }) => {
          const updates = [...good, ...bad];
          const there = numbers(robustMean(updates, rule));
          const again = numbers(robustMean(order(updates), rule));
          for (const [i, x] of there.entries()) expect(again[i]).toBeCloseTo(x, 5);
        }),
        { numRuns: 40 },
      );
    });

    it('moves with a common shift and scale', () => {
      fc.assert(
        fc.property(points, ({ good, bad }) => {
          const updates = [...good, ...bad.map((update) => changed(update, (x) => Math.max(-50, Math.min(50, x))))];
          const there = numbers(robustMean(updates, rule));
          const moved = numbers(
            robustMean(
              updates.map((update) => changed(update, (x) => 4 * x + 8)),
              rule,
            ),
          );
          for (const [i, x] of there.entries()) expect(moved[i]).toBeCloseTo(4 * x + 8, 3);
        }),
        { numRuns: 40 },
      );
    });

    it('is not carried away by 2 of 11, however far they are', () => {
      fc.assert(
        fc.property(points, ({ good, bad }) => {
          const found = robustMean([...good, ...bad], rule);
          const mean = weightedMean(good.map((tensors) => ({ tensors, weight: 1 })));
          const radius = Math.max(...good.map((update) => norm(subtract(update, mean))));
          // The geometric median’s bound is 2(n − f)/(n − 2f) = 2.57 radii; the others are within 4 here.
          expect(norm(subtract(found, mean))).toBeLessThanOrEqual(4 * radius + 1e-5);
        }),
        { numRuns: 80 },
      );
    });

    it('of equal updates is that update', () => {
      fc.assert(
        fc.property(points, ({ good }) => {
          const update = good[0]!;
          const found = numbers(
            robustMean(
              Array.from({ length: 11 }, () => update),
              rule,
            ),
          );
          for (const [i, x] of numbers(update).entries()) expect(found[i]).toBeCloseTo(x, 6);
        }),
        { numRuns: 20 },
      );
    });
  },
);

it('the plain mean is carried away by one', () => {
  const update = (x: number): Tensors => new Map([['x', { shape: [1], data: Float32Array.of(x) }]]);
  const mean = weightedMean([0, 0, 0, 0, 1e6].map((x) => ({ tensors: update(x), weight: 1 })));
  expect(mean.get('x')!.data[0]).toBe(2e5);
});

describe.each(['median', 'trimmed-mean', 'bulyan'] as const)('%s', (rule) => {
  it('stays in every coordinate among the honest values', () => {
    const with2 = rules.find((each) => each.rule === rule)!;
    fc.assert(
      fc.property(points, ({ good, bad }) => {
        const found = numbers(robustMean([...good, ...bad], with2));
        // Bulyan averages what is near the median, which may take in a bad value as near as an honest one.
        const slack = rule === 'bulyan' ? 2 : 0;
        for (const [i, x] of found.entries()) {
          const values = good.map((update) => numbers(update)[i]!);
          expect(x).toBeGreaterThanOrEqual(Math.min(...values) - slack);
          expect(x).toBeLessThanOrEqual(Math.max(...values) + slack);
        }
      }),
      { numRuns: 80 },
    );
  });
});

it('the geometric median has the least sum of distances there is', () => {
  const random = stream(11, 'points');
  for (let round = 0; round < 20; round++) {
    const points = Array.from(
      { length: 3 + round },
      (): Tensors => new Map([['x', { shape: [3], data: Float32Array.from({ length: 3 }, random.normal) }]]),
    );
    const sum = (at: Tensors): number => points.reduce((total, point) => total + norm(subtract(point, at)), 0);
    const found = robustMean(points, { rule: 'geometric-median' });
    for (const point of points) expect(sum(found)).toBeLessThanOrEqual(sum(point) + 1e-5);
    for (let k = 0; k < 30; k++) {
      const near = changed(found, (x) => x + 0.01 * random.normal());
      expect(sum(found)).toBeLessThanOrEqual(sum(near) + 1e-5);
    }
  }
});

describe('distances of products', () => {
  const random = stream(5, 'factors');
  const matrix = (rows: number, columns: number): Tensor => ({
    shape: [rows, columns],
    data: Float32Array.from({ length: rows * columns }, random.normal),
  });
  const at = ({ shape, data }: Tensor, i: number, j: number): number => data[i * shape[1]! + j]!;
  const product = (b: Tensor, a: Tensor): number[] =>
    Array.from({ length: b.shape[0]! * a.shape[1]! }, (_, k) => {
      const [i, j] = [Math.floor(k / a.shape[1]!), k % a.shape[1]!];
      return Array.from({ length: a.shape[0]! }, (_, r) => at(b, i, r) * at(a, r, j)).reduce((sum, x) => sum + x, 0);
    });

  const productDistance = (...pairs: readonly { readonly a: Tensor; readonly b: Tensor }[]): number => {
    const factors = pairs.map(({ a, b }) => new Map(Object.entries({ 'm.lora_A': a, 'm.lora_B': b })));
    return productDistances(factors, [{ name: 'm', scale: 1 }]).squared[1]!;
  };

  it('are those of the products formed out, with equal and with different ranks', () => {
    for (const [r1, r2] of [
      [2, 2],
      [1, 3],
      [4, 2],
    ] as const) {
      const [one, two] = [
        { b: matrix(6, r1), a: matrix(r1, 5) },
        { b: matrix(6, r2), a: matrix(r2, 5) },
      ];
      const second = product(two.b, two.a);
      const right = product(one.b, one.a).reduce((sum, x, i) => sum + (x - second[i]!) ** 2, 0);
      expect(productDistance(one, two) / right).toBeCloseTo(1, 12);
      expect(productDistance(two, one) / right).toBeCloseTo(1, 12);
    }
  });

  it('keep their digits for factors that hardly differ', () => {
    const [b, a] = [matrix(6, 2), matrix(2, 5)];
    const nudged: Tensor = { shape: a.shape, data: a.data.map((x, i) => (i === 3 ? x * (1 + 2 ** -20) : x)) };
    const change = nudged.data[3]! - a.data[3]!;
    const column = Array.from({ length: 6 }, (_, i) => at(b, i, 0) ** 2).reduce((sum, x) => sum + x, 0);
    expect(productDistance({ b, a }, { b, a: nudged }) / (change ** 2 * column)).toBeCloseTo(1, 9);
    expect(productDistance({ b, a }, { b, a })).toBe(0);
  });

  it('add up over modules with their scales, and do not see a change of gauge, which moves A and B far', () => {
    const client = (seed: number, gauge: number): Tensors => {
      const random = stream(seed, 'client');
      const data = (size: number, factor: number): Float32Array =>
        Float32Array.from({ length: size }, () => factor * random.normal());
      // Powers of two, so that (gauge·B)(A/gauge) is exactly B·A.
      return new Map([
        ['m.lora_A', { shape: [2, 5], data: data(10, 1 / gauge) }],
        ['m.lora_B', { shape: [4, 2], data: data(8, gauge) }],
        ['n.lora_A', { shape: [1, 3], data: data(3, 1) }],
        ['n.lora_B', { shape: [3, 1], data: data(3, 1) }],
      ]);
    };
    const modules = [
      { name: 'm', scale: 2 },
      { name: 'n', scale: 0.5 },
    ];
    const plain = [1, 2, 3, 4, 5].map((seed) => client(seed, 1));
    const turned = [client(1, 1), client(2, 8), client(3, 1), client(4, 1 / 4), client(5, 1)];
    const [d, e] = [productDistances(plain, modules), productDistances(turned, modules)];
    for (const [i, x] of d.squared.entries()) expect(e.squared[i]).toBeCloseTo(x, 9);
    const pair = (name: string) => ({ a: plain[0]!.get(`${name}.lora_A`)!, b: plain[0]!.get(`${name}.lora_B`)! });
    const other = (name: string) => ({ a: plain[3]!.get(`${name}.lora_A`)!, b: plain[3]!.get(`${name}.lora_B`)! });
    const by = 4 * productDistance(pair('m'), other('m')) + 0.25 * productDistance(pair('n'), other('n'));
    expect(d.squared[3]! / by).toBeCloseTo(1, 12);
    // Krum chooses the same client by products, whatever the gauge; by factors it does not.
    const choice = (clients: Tensors[], distances = squaredDistances(clients)): number =>
      clients.indexOf(krum(clients, 1, distances));
    expect(choice(turned, e)).toBe(choice(plain, d));
    expect(squaredDistances(turned).squared[1]).not.toBeCloseTo(squaredDistances(plain).squared[1]!, 0);
  });
});

function changed(tensors: Tensors, change: (x: number) => number): Tensors {
  return new Map([...tensors].map(([name, { shape, data }]) => [name, { shape, data: data.map(change) }]));
}
