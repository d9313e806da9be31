import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { UserError } from '../errors.ts';
import { classOverClients, mixPerClient } from './dirichlet.ts';

const classes = (...sizes: number[]): string[][] =>
  sizes.map((size, c) => Array.from({ length: size }, (_, i) => `${c}:${i}`));
const any = { minimum: 0, retries: 1 };

const moments = (values: readonly number[]): { mean: number; variance: number } => {
  const mean = values.reduce((sum, x) => sum + x, 0) / values.length;
  return { mean, variance: values.reduce((sum, x) => sum + (x - mean) ** 2, 0) / values.length };
};

const draws = 2000;

it.each([
  [10, 0.5],
  [4, 2],
  [20, 0.1],
])(
  'class over clients: shares have mean 1/K and variance (1/K)(1 − 1/K)/(Kα + 1), K = %d, α = %d',
  (clients, alpha) => {
    const size = 5000;
    const shares = Array.from({ length: draws }, (_, seed) =>
      classOverClients(classes(size), { clients, alpha, balance: false, ...any }, seed).map(
        (rows) => rows.length / size,
      ),
    );
    const expected = ((1 / clients) * (1 - 1 / clients)) / (clients * alpha + 1);
    if (clients === 10) expect(expected).toBeCloseTo(0.015, 12);
    // The first client, one in the middle and the last alike: cutting must favour none.
    for (const k of [0, clients >> 1, clients - 1]) {
      const { mean, variance } = moments(shares.map((share) => share[k]!));
      // Five standard errors of the mean; the variance's own spread is wider for small α.
      expect(Math.abs(mean - 1 / clients)).toBeLessThan(5 * Math.sqrt(expected / draws));
      expect(Math.abs(variance / expected - 1)).toBeLessThan(0.25);
    }
  },
);

it("mix per client: a class has mean p and variance p(1 − p)/(α + 1) in a client's mix", () => {
  // The first client takes 1,000 rows, as many as the smallest class has: none runs out.
  const alpha = 1.5;
  const sizes = [3000, 6000, 1000];
  const clients = 10;
  const share = Array.from({ length: 200 }, (_, seed) => {
    const first = mixPerClient(classes(...sizes), { clients, alpha, ...any }, seed)[0]!;
    return sizes.map((_size, c) => first.filter((row) => row.startsWith(`${c}:`)).length / first.length);
  });
  sizes.forEach((size, c) => {
    const p = size / 10_000;
    const mixed = (p * (1 - p)) / (alpha + 1);
    // Multinomial noise of the 1,000 rows drawn from the mix.
    const expected = mixed + (p * (1 - p) - mixed) / 1000;
    const { mean, variance } = moments(share.map((mix) => mix[c]!));
    expect(Math.abs(mean - p)).toBeLessThan(5 * Math.sqrt(expected / 200));
    expect(Math.abs(variance / expected - 1)).toBeLessThan(0.4);
  });
});

describe('both conventions', () => {
  const sizes = fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 6 });

  it('deal every row exactly once, the same way for the same seed', () => {
    fc.assert(
      fc.property(
        sizes,
        fc.integer({ min: 1, max: 8 }),
        fc.double({ min: 0.01, max: 50, noNaN: true }),
        fc.nat(),
        (some, clients, alpha, seed) => {
          const all = classes(...some)
            .flat()
            .sort();
          const settings = { clients, alpha, ...any };
          const deal = [
            () => classOverClients(classes(...some), { ...settings, balance: false }, seed),
            () => classOverClients(classes(...some), { ...settings, balance: true }, seed),
            () => mixPerClient(classes(...some), settings, seed),
          ];
          for (const dealt of deal) {
            expect(dealt()).toHaveLength(clients);
            expect(dealt().flat().sort()).toEqual(all);
            expect(dealt()).toEqual(dealt());
          }
          const lengths = deal[2]!().map((rows) => rows.length);
          expect(Math.max(...lengths) - Math.min(...lengths)).toBeLessThanOrEqual(1);
        },
      ),
    );
  });

  it('differ: one spreads sizes, the other only mixes', () => {
    const even = classes(100, 100, 100);
    const spread = classOverClients(even, { clients: 5, alpha: 0.3, balance: false, ...any }, 1);
    expect(new Set(spread.map((rows) => rows.length)).size).toBeGreaterThan(2);
    const mixed = mixPerClient(even, { clients: 5, alpha: 0.3, ...any }, 1);
    expect(new Set(mixed.map((rows) => rows.length))).toEqual(new Set([60]));
  });
});

it('classes of one row favour no client', () => {
  const settings = { clients: 4, alpha: 1, balance: false, ...any };
  const held = [0, 0, 0, 0];
  for (let seed = 0; seed < draws; seed++)
    classOverClients(classes(1), settings, seed).forEach((rows, k) => (held[k]! += rows.length));
  for (const n of held) expect(Math.abs(n - draws / 4)).toBeLessThan(5 * Math.sqrt((draws * 3) / 16));
});

it('balance gives nothing more to clients that hold their share', () => {
  // Classes of one row each: whoever has 20 of 100 rows gets no further one.
  const single = classes(...Array.from({ length: 100 }, () => 1));
  for (let seed = 0; seed < 20; seed++) {
    const dealt = classOverClients(single, { clients: 5, alpha: 0.1, balance: true, ...any }, seed);
    expect(dealt.map((rows) => rows.length)).toEqual([20, 20, 20, 20, 20]);
  }
});

it('draws again until every client has its minimum, then gives up', () => {
  const settings = { clients: 4, alpha: 0.5, balance: false };
  const first = classOverClients(classes(100), { ...settings, ...any }, 0);
  expect(Math.min(...first.map((rows) => rows.length))).toBeLessThan(5);
  const enough = classOverClients(classes(100), { ...settings, minimum: 5, retries: 200 }, 0);
  expect(Math.min(...enough.map((rows) => rows.length))).toBeGreaterThanOrEqual(5);
  expect(() => classOverClients(classes(100), { ...settings, minimum: 26, retries: 3 }, 0)).toThrow(UserError);
  expect(() => classOverClients(classes(100), { ...settings, minimum: 26, retries: 3 }, 0)).toThrow(
    /3 Dirichlet draws \(alpha 0\.5, 4 clients\) left a client below clients\.minimum 26; the best draw's smallest client had \d+ rows/,
  );
});
