import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { neighbourGraph } from './graph.ts';
import { leastHonest, requireParameters, secureParameters } from './parameters.ts';

const choose = (n: bigint, k: bigint): bigint => {
  let out = 1n;
  for (let i = 0n; i < k; i++) out = (out * (n - i)) / (i + 1n);
  return out;
};

/** Exact: P[x of `drawn` are marked] summed over `xs`, as a ratio of whole numbers. */
function exact(total: number, marked: number, drawn: number, from: number, to: number): number {
  let ways = 0n;
  for (let x = from; x <= to; x++) {
    if (x > marked || drawn - x > total - marked) continue;
    ways += choose(BigInt(marked), BigInt(x)) * choose(BigInt(total - marked), BigInt(drawn - x));
  }
  const all = choose(BigInt(total), BigInt(drawn));
  return Number((ways * 10n ** 40n) / all) / 1e40;
}

const settings = [
  [10, 0.3, 0.2],
  [30, 0.3, 0.2],
  [100, 0.1, 0.1],
  [100, 0.3, 0.2],
  [1000, 0.05, 0.05],
  [1000, 0.3, 0.2],
] as const;

describe.each(settings)('%i clients, %d leave, %d corrupt', (n, dropouts, corrupt) => {
  const { neighbours: k, threshold: t, least } = secureParameters(n, { dropouts, corrupt });
  const [bad, gone] = [Math.ceil(corrupt * n), Math.floor(dropouts * n)];
  const learned = n * exact(n - 1, bad, k, t, k);
  const failed = (threshold: number): number => n * exact(n - 1, n - 1 - gone, k, 0, threshold - 1);

  test('exact tails keep the bounds, and a larger threshold would not', () => {
    expect(learned).toBeLessThanOrEqual(2 ** -41);
    expect(failed(t)).toBeLessThanOrEqual(2 ** -30);
    expect(t === k || failed(t + 1) > 2 ** -30).toBe(true);
  });

  test('signatures: neither two sets, nor a sum that fails though no more left', () => {
    // Each honest client signs one set, each corrupt one signs both.
    expect(2 * least).toBeGreaterThan(n + bad);
    expect(n - gone).toBeGreaterThanOrEqual(least);
  });
});

test('ten thousand clients of whom 5 % leave and 5 % are corrupt need fewer than the 3 % of each other that the paper names', () => {
  // Bell et al.'s figure (abstract, semi-malicious setting) is for a stronger adversary.
  const { neighbours } = secureParameters(10_000, { dropouts: 0.05, corrupt: 0.05 });
  expect(neighbours).toBeLessThan(300);
  // Few more than for a thousand: the degree grows with the logarithm.
  expect(neighbours - secureParameters(1000, { dropouts: 0.05, corrupt: 0.05 }).neighbours).toBeLessThan(10);
});

test('a graph that could fall apart is not chosen: no two runs of k/2 of those that are gone', () => {
  fc.assert(
    fc.property(fc.integer({ min: 3, max: 40 }), fc.constantFrom(0.1, 0.2, 0.3), (n, share) => {
      let made;
      try {
        made = secureParameters(n, { dropouts: share, corrupt: share });
      } catch {
        return;
      }
      const gone = Math.ceil(share * n) + Math.floor(share * n);
      if (made.neighbours < n - 1 && n <= 40) expect(made.neighbours).toBeGreaterThan(gone);
    }),
  );
});

test.each([
  [2, 0.1, 0.1, 'at least 3 clients'],
  [10, 0.5, 0.2, 'at least 7 must stay where 2 may be corrupt, and 5 may leave'],
  [10, 1, 0, 'a share of the clients is at least 0 and below 1'],
  [10, 0.1, -0.1, 'a share of the clients'],
])('%i clients with %d and %d are refused', (n, dropouts, corrupt, message) => {
  expect(() => secureParameters(n, { dropouts, corrupt })).toThrow(message);
});

test('every number of clients has parameters with the default shares', () => {
  for (let n = 3; n <= 120; n++) expect(secureParameters(n, { dropouts: 0.3, corrupt: 0.2 }).clients).toBe(n);
});

describe('with the server’s own among those who are asked', () => {
  const shares = { dropouts: 0.3, corrupt: 0.2 };

  test('a sum is of as many clients as without it, as many of them honest, and as many may leave', () => {
    for (let n = 3; n <= 120; n++) {
      const alone = secureParameters(n, shares);
      const beside = secureParameters(n + 1, { ...shares, server: true });
      // It may itself be in the sum, or sign two of them.
      expect(beside.least - 1, `${n} clients`).toBe(alone.least);
      expect(leastHonest(n + 1, { ...shares, server: true })).toBe(leastHonest(n, shares));
      expect(n + 1 - Math.floor(0.3 * n)).toBeGreaterThanOrEqual(beside.least);
    }
  });

  test.each([10, 30, 100, 300])('exact tails keep the bounds for %i clients', (n) => {
    const { neighbours: k, threshold: t, least } = secureParameters(n + 1, { ...shares, server: true });
    const [bad, gone] = [Math.ceil(0.2 * n) + 1, Math.floor(0.3 * n)];
    expect((n + 1) * exact(n, bad, k, t, k)).toBeLessThanOrEqual(2 ** -41);
    expect((n + 1) * exact(n, n - gone, k, 0, t - 1)).toBeLessThanOrEqual(2 ** -30);
    expect(2 * least).toBeGreaterThan(n + 1 + bad);
  });

  test('it is no client of the least three', () => {
    expect(() => secureParameters(3, { ...shares, server: true })).toThrow(
      'at least 3 clients, not 2 beside the server’s own rows',
    );
  });
});

test('numbers that contradict each other are refused', () => {
  const fine = { clients: 10, neighbours: 4, threshold: 3, least: 6 };
  expect(() => requireParameters(fine)).not.toThrow();
  for (const wrong of [
    { neighbours: 5 },
    { neighbours: 10 },
    { threshold: 1 },
    { threshold: 5 },
    { least: 5 },
    { least: 11 },
  ])
    expect(() => requireParameters({ ...fine, ...wrong })).toThrow();
});

describe('the neighbour graph', () => {
  const seed = new Uint8Array(32).fill(1);
  const connected = (graph: readonly (readonly number[])[], without: ReadonlySet<number>): boolean => {
    const left = graph.map((_, i) => i).filter((i) => !without.has(i));
    const seen = new Set([left[0]!]);
    for (const i of seen) for (const j of graph[i]!) if (!without.has(j)) seen.add(j);
    return seen.size === left.length;
  };

  test('is regular, symmetric, the same for all, and another one for another sum', () => {
    const graph = neighbourGraph(20, 6, seed);
    for (const [i, neighbours] of graph.entries()) {
      expect(new Set(neighbours).size).toBe(6);
      expect(neighbours).not.toContain(i);
      for (const j of neighbours) expect(graph[j]).toContain(i);
    }
    expect(neighbourGraph(20, 6, seed)).toEqual(graph);
    expect(neighbourGraph(20, 6, new Uint8Array(32).fill(2))).not.toEqual(graph);
    expect(neighbourGraph(4, 3, seed)).toEqual([
      [1, 2, 3],
      [0, 2, 3],
      [0, 1, 3],
      [0, 1, 2],
    ]);
  });

  test('falls apart only where two runs of half its degree are gone', () => {
    fc.assert(
      fc.property(
        fc.subarray(
          Array.from({ length: 15 }, (_, i) => i),
          { maxLength: 5 },
        ),
        (gone) => {
          // Degree 6: it takes 6.
          expect(connected(neighbourGraph(15, 6, seed), new Set(gone))).toBe(true);
        },
      ),
    );
  });
});
