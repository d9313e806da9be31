import { describe, expect, it } from 'vitest';
import { stream } from './random.ts';

/** Central moments of `n` draws: mean, variance, skewness, kurtosis. */
function moments(draw: () => number, n: number): [number, number, number, number] {
  const values = Float64Array.from({ length: n }, draw);
  const mean = values.reduce((sum, x) => sum + x, 0) / n;
  const central = (k: number): number => values.reduce((sum, x) => sum + (x - mean) ** k, 0) / n;
  const variance = central(2);
  return [mean, variance, central(3) / variance ** 1.5, central(4) / variance ** 2];
}

/** Σ (seen − expected)²/expected for equally likely outcomes. */
function chiSquare(counts: readonly number[]): number {
  const expected = counts.reduce((sum, count) => sum + count, 0) / counts.length;
  return counts.reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0);
}

describe('streams', () => {
  // From a separate implementation in Python (mmh3 for the hash, xoroshiro128+ in 64-bit integers).
  it.each([
    [[1], [0.6027333385533582, 0.5036507204618342, 0.6567067860591246]],
    [
      [1, 'sampling', 0],
      [0.45814421341897726, 0.9888622413428, 0.5872281242949431],
    ],
    [
      [1, 'sampling', 1],
      [0.7465127926874662, 0.07360599701525672, 0.9623463308136689],
    ],
    [
      [7, 'clients', 'häus 東', 3.5],
      [0.5058489361223389, 0.43723985033469226, 0.10752568864130974],
    ],
    [
      [-1, 'a'],
      [0.6342415741325365, 0.6282278269513841, 0.39032552852654245],
    ],
  ] as const)('%j begins as fixed', ([seed, ...names], values) => {
    const random = stream(seed, ...names);
    expect(values.map(() => random.uniform())).toEqual(values);
  });

  it('keeps the draws of every distribution', () => {
    const random = stream(3, 'all');
    expect([random.integer(1000), random.integer(2 ** 40)]).toEqual([808, 58794081903]);
    // Logarithms may differ in their last bit between machines.
    const drawn = [
      random.normal(),
      random.normal(),
      random.gamma(0.3),
      random.gamma(2.5),
      ...random.dirichlet([0.5, 1, 2]),
    ];
    const fixed = [
      -0.34131805817065647, -0.01997922437404723, 0.007743254445827097, 1.0307915449536056, 0.18425004169527617,
      0.14457063081428392, 0.67117932749044,
    ];
    for (const [i, value] of fixed.entries()) expect(drawn[i]).toBeCloseTo(value, 13);
    expect(random.shuffle([1, 2, 3, 4, 5, 6, 7, 8])).toEqual([2, 1, 3, 6, 5, 7, 4, 8]);
    expect(random.sample([1, 2, 3, 4, 5, 6, 7, 8], 3)).toEqual([1, 5, 6]);
  });

  it('tells apart paths that look alike', () => {
    const paths = [
      [1],
      ['1'],
      ['', 1],
      ['a', 'b'],
      ['ab'],
      ['a', '', 'b'],
      ['a', 'b', ''],
      ['b', 'a'],
      [1, 1],
      [11],
      [-1],
      [0.5],
    ];
    const firsts = paths.map((path) => stream(1, ...path).uniform());
    firsts.push(stream(2, 1).uniform());
    expect(new Set(firsts).size).toBe(paths.length + 1);
    expect(stream(0, -0).uniform()).toBe(stream(-0, 0).uniform());
    expect(() => stream(Number.NaN)).toThrow('cannot be named by NaN');
  });

  it('gives streams of neighbouring names that have nothing to do with each other', () => {
    const firsts = Array.from({ length: 20_000 }, (_, round) => stream(1, 'client', round).uniform());
    const counts = Array.from({ length: 64 }, () => 0);
    for (const first of firsts) counts[Math.floor(first * 64)]! += 1;
    // 63 degrees of freedom: 99.9 % lie below 103.4.
    expect(chiSquare(counts)).toBeLessThan(103.4);
    const [one, two] = [stream(1, 'client', 0), stream(1, 'client', 1)];
    let along = 0;
    for (let i = 0; i < 50_000; i++) along += (one.uniform() - 0.5) * (two.uniform() - 0.5) * 12;
    expect(Math.abs(along / 50_000)).toBeLessThan(4 / Math.sqrt(50_000));
    const lagged = firsts.slice(1).reduce((sum, x, i) => sum + (x - 0.5) * (firsts[i]! - 0.5) * 12, 0) / firsts.length;
    expect(Math.abs(lagged)).toBeLessThan(4 / Math.sqrt(firsts.length));
  });
});

describe('distributions', () => {
  const n = 100_000;

  it('uniform', () => {
    const random = stream(1, 'uniform');
    const [mean, variance, skewness, kurtosis] = moments(random.uniform, n);
    expect(mean).toBeCloseTo(0.5, 2);
    expect(variance).toBeCloseTo(1 / 12, 2);
    expect(Math.abs(skewness)).toBeLessThan(0.03);
    expect(Math.abs(kurtosis - 1.8)).toBeLessThan(0.03);
    const draws = Array.from({ length: 1000 }, random.uniform);
    expect(draws.every((x) => x >= 0 && x < 1 && Number.isInteger(x * 2 ** 53))).toBe(true);
    expect(draws.some((x) => !Number.isInteger(x * 2 ** 52))).toBe(true);
  });

  it('integer, without bias and within its bounds', () => {
    const random = stream(1, 'integer');
    const counts = Array.from({ length: 7 }, () => 0);
    for (let i = 0; i < n; i++) counts[random.integer(7)]! += 1;
    // 6 degrees of freedom: 99.9 % lie below 22.5.
    expect(chiSquare(counts)).toBeLessThan(22.5);
    expect(random.integer(1)).toBe(0);
    const large = Array.from({ length: 100 }, () => random.integer(Number.MAX_SAFE_INTEGER));
    expect(large.every((x) => Number.isSafeInteger(x) && x >= 0)).toBe(true);
    expect(Math.max(...large)).toBeGreaterThan(2 ** 52);
    for (const bad of [0, -1, 1.5, Number.NaN]) expect(() => random.integer(bad)).toThrow('whole bound');
  });

  it('normal', () => {
    const [mean, variance, skewness, kurtosis] = moments(stream(1, 'normal').normal, n);
    expect(Math.abs(mean)).toBeLessThan(4 / Math.sqrt(n));
    expect(Math.abs(variance - 1)).toBeLessThan(4 * Math.sqrt(2 / n));
    expect(Math.abs(skewness)).toBeLessThan(4 * Math.sqrt(6 / n));
    expect(Math.abs(kurtosis - 3)).toBeLessThan(4 * Math.sqrt(24 / n));
  });

  it.each([0.05, 0.5, 1, 3.7, 100])('gamma of shape %s has that mean and variance', (shape) => {
    const random = stream(1, 'gamma', shape);
    const [mean, variance, skewness] = moments(() => random.gamma(shape), n);
    expect(Math.abs(mean - shape)).toBeLessThan(4 * Math.sqrt(shape / n));
    expect(Math.abs(variance / shape - 1)).toBeLessThan(4 * Math.sqrt((2 + 6 / shape) / n));
    expect(Math.abs(skewness - 2 / Math.sqrt(shape)) * Math.sqrt(shape)).toBeLessThan(0.25);
    expect(() => random.gamma(0)).toThrow('a shape above 0');
  });

  it('Dirichlet(0.5) over 10 has mean 0.1 and variance 0.015 (ALGORITHMS §7)', () => {
    const random = stream(1, 'dirichlet');
    const draws = Array.from({ length: 20_000 }, () => random.dirichlet(Array.from({ length: 10 }, () => 0.5)));
    for (let k = 0; k < 10; k++) {
      const values = draws.map((shares) => shares[k]!);
      const mean = values.reduce((sum, x) => sum + x, 0) / values.length;
      const variance = values.reduce((sum, x) => sum + (x - mean) ** 2, 0) / values.length;
      expect(mean).toBeCloseTo(0.1, 2);
      expect(Math.abs(variance - 0.015)).toBeLessThan(0.0006);
    }
  });

  it('Dirichlet follows an uneven alpha, and stays a share at very small ones', () => {
    const random = stream(1, 'uneven');
    const mean = [0, 0, 0];
    for (let i = 0; i < 10_000; i++) for (const [k, x] of random.dirichlet([1, 2, 5]).entries()) mean[k]! += x / 10_000;
    expect(mean[0]).toBeCloseTo(1 / 8, 2);
    expect(mean[1]).toBeCloseTo(2 / 8, 2);
    expect(mean[2]).toBeCloseTo(5 / 8, 2);
    const tiny = Array.from({ length: 500 }, () => random.dirichlet([1e-3, 1e-3, 1e-3]));
    for (const shares of tiny) expect(shares.reduce((sum, x) => sum + x, 0)).toBeCloseTo(1, 12);
    // Nearly all mass on one entry, each of them in turn.
    for (let k = 0; k < 3; k++) expect(tiny.filter((shares) => shares[k]! > 0.99).length).toBeGreaterThan(100);
  });
});

describe('shuffle and sample', () => {
  it('gives every order of four equally often, and leaves its argument alone', () => {
    const random = stream(1, 'shuffle');
    const given = ['a', 'b', 'c', 'd'];
    const counts = new Map<string, number>();
    for (let i = 0; i < 24_000; i++) {
      const order = random.shuffle(given).join('');
      counts.set(order, (counts.get(order) ?? 0) + 1);
    }
    expect(counts.size).toBe(24);
    // 23 degrees of freedom: 99.9 % lie below 49.7.
    expect(chiSquare([...counts.values()])).toBeLessThan(49.7);
    expect(given).toEqual(['a', 'b', 'c', 'd']);
  });

  it('samples different elements, each with probability k/n', () => {
    const random = stream(1, 'sample');
    const counts = Array.from({ length: 10 }, () => 0);
    for (let i = 0; i < 20_000; i++) {
      const drawn = random.sample([...counts.keys()], 3);
      expect(new Set(drawn).size).toBe(3);
      for (const k of drawn) counts[k]! += 1;
    }
    for (const count of counts) expect(Math.abs(count - 6000)).toBeLessThan(4 * Math.sqrt(20_000 * 0.3 * 0.7));
    expect(random.sample([1, 2], 0)).toEqual([]);
    expect(() => random.sample([1, 2], 3)).toThrow('cannot draw 3 of 2');
  });
});
