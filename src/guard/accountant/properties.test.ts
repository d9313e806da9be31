import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { gaussianEpsilon } from '../../../tests/support/gaussian-epsilon.ts';
import { gaussianDelta } from './gaussian.ts';
import { noiseFor } from './noise.ts';
import { normalCdf } from './normal.ts';
import { prvEpsilon } from './prv.ts';
import { rdpEpsilon, rdpOfStep } from './rdp.ts';
import type { Spending } from './spending.ts';

const wholeOrders = Array.from({ length: 255 }, (_, i) => i + 2);
const one = (noise: number, rate: number, steps: number): Spending[] => [{ noise, rate, steps }];

describe('published vectors', () => {
  it.each([
    { noise: 1, rate: 0.1, steps: 100, epsilon: 7.97292, order: 3 },
    { noise: 1, rate: 0.01, steps: 1000, epsilon: 2.10775, order: 8 },
    { noise: 4, rate: 1, steps: 10, epsilon: 3.62785, order: 7 },
  ])('RDP over whole orders: noise $noise, rate $rate, $steps steps', ({ noise, rate, steps, epsilon, order }) => {
    const found = rdpEpsilon(one(noise, rate, steps), 1e-5, wholeOrders);
    expect(found.epsilon).toBeCloseTo(epsilon, 5);
    expect(found.order).toBe(order);
  });

  it('RDP of a history of two rates, the example that Opacus documents: 0.336 at order 23', () => {
    const history = [...one(1, 1e-5, 10), ...one(3, 1e-4, 4)];
    const found = rdpEpsilon(history, 1e-5, wholeOrders.slice(0, 31));
    expect(found.epsilon).toBeCloseTo(0.336, 3);
    expect(found.order).toBe(23);
  });

  it('RDP by the classic conversion, ln(1/δ)/(α − 1), would cost 8.92769 where ours says 7.97292', () => {
    const classic = wholeOrders.map((order) => 100 * rdpOfStep(order, 1, 0.1) + Math.log(1e5) / (order - 1));
    expect(Math.min(...classic)).toBeCloseTo(8.92769, 5);
  });

  it('one round at order 2', () => {
    expect(rdpOfStep(2, 1, 0.1)).toBeCloseTo(0.0170368632, 9);
    // Closed form: ln(1 + q²(e^{1/z²} − 1)).
    expect(rdpOfStep(2, 1.5, 0.02)).toBeCloseTo(Math.log1p(0.02 ** 2 * Math.expm1(1 / 1.5 ** 2)), 15);
  });

  it('the exact Gaussian', () => {
    expect(gaussianEpsilon(4, 10, 1e-5)).toBeCloseTo(3.3414094692393435, 10);
    expect(gaussianEpsilon(1, 1, 1e-5)).toBeCloseTo(4.377178, 6);
    expect(gaussianDelta(4, 10, gaussianEpsilon(4, 10, 1e-5))).toBeCloseTo(1e-5, 14);
  });
});

describe('RDP of any order', () => {
  const noise = fc.double({ min: 0.3, max: 20, noNaN: true });
  const rate = fc.double({ min: 1e-6, max: 0.99, noNaN: true });

  it('is continuous across the whole orders, which are computed by another formula', () => {
    fc.assert(
      fc.property(noise, rate, fc.integer({ min: 2, max: 24 }), (z, q, order) => {
        const near = (rdpOfStep(order - 1e-6, z, q) + rdpOfStep(order + 1e-6, z, q)) / 2;
        expect(Math.abs(near / rdpOfStep(order, z, q) - 1)).toBeLessThan(1e-7);
      }),
      { numRuns: 60 },
    );
  });

  it('grows with the order and the rate and shrinks with the noise', () => {
    const order = fc.double({ min: 1.01, max: 40, noNaN: true });
    fc.assert(
      fc.property(noise, rate, order, (z, q, a) => {
        const here = rdpOfStep(a, z, q);
        expect(here).toBeGreaterThan(0);
        expect(rdpOfStep(a * 1.01, z, q)).toBeGreaterThanOrEqual(here * (1 - 1e-10));
        expect(rdpOfStep(a, z, q * 1.01)).toBeGreaterThan(here);
        expect(rdpOfStep(a, z * 1.01, q)).toBeLessThan(here);
        // Sampling amplifies: never more than with everybody.
        expect(here).toBeLessThan(rdpOfStep(a, z, 1));
      }),
      { numRuns: 60 },
    );
  });

  it('agrees with itself where two formulas or two ways of integrating meet', () => {
    for (const order of [1.5, 3.7, 9.2]) {
      const [below, above] = [rdpOfStep(order, 0.1 - 1e-9, 0.2), rdpOfStep(order, 0.1, 0.2)];
      expect(Math.abs(below / above - 1)).toBeLessThan(1e-7);
      // With little noise only the sampled client's own peak counts: q^α·e^{(α² − α)/2z²}.
      const peak = (order * Math.log(0.2)) / (order - 1) + order / (2 * 0.02 ** 2);
      expect(rdpOfStep(order, 0.02, 0.2) / peak).toBeCloseTo(1, 9);
    }
  });

  it('keeps its digits where sampling is rare: q²α(e^{1/z²} − 1)/2 to first order', () => {
    for (const order of [1.5, 2, 7.3]) {
      const leading = (order / 2) * 1e-14 * Math.expm1(1 / 16);
      expect(rdpOfStep(order, 4, 1e-7) / leading).toBeCloseTo(1, 6);
    }
  });
});

describe('PRV', () => {
  it('encloses the exact Gaussian at rate 1, also for thousands of rounds and a small delta', () => {
    for (const [noise, steps, delta] of [
      [1, 1, 1e-5],
      [4, 10, 1e-5],
      [50, 2000, 1e-6],
      [3, 20, 1e-8],
      [300, 100_000, 1e-7],
    ] as const) {
      const exact = gaussianEpsilon(noise, steps, delta);
      const { lower, estimate, upper } = prvEpsilon(one(noise, 1, steps), delta, 0.05);
      expect(lower).toBeLessThan(exact);
      expect(upper).toBeGreaterThan(exact);
      expect(Math.abs(estimate - exact)).toBeLessThan(1e-4);
      expect(upper - lower).toBeLessThan(0.11);
    }
  });

  it('encloses it over 10⁸ rounds, or says that δ is too small for its arithmetic, whose errors add up', () => {
    // Without an allowance by rounds it said “at least 6.14” at 1e-8, where the exact ε is 5.776.
    const rounds = one(1e4, 1, 1e8);
    const { lower, upper } = prvEpsilon(rounds, 1e-5, 0.2);
    const exact = gaussianEpsilon(1e4, 1e8, 1e-5);
    expect(lower).toBeLessThan(exact);
    expect(upper).toBeGreaterThan(exact);
    expect(() => prvEpsilon(rounds, 1e-8, 0.2)).toThrow('use the RDP accountant');
  });

  it('encloses the closed form of a single sampled round', () => {
    for (const [noise, rate, delta] of [
      [1, 0.1, 1e-5],
      [0.6, 0.3, 1e-6],
      [2, 0.9, 1e-4],
    ] as const) {
      const { estimate, lower, upper } = prvEpsilon(one(noise, rate, 1), delta);
      // δ(ε) = P(x > a) − e^ε·Q(x > a) where the log ratio at a is ε.
      const at = (epsilon: number): number => {
        const a = noise ** 2 * Math.log((Math.exp(epsilon) - 1 + rate) / rate) + 0.5;
        const q = normalCdf(-a / noise);
        return (1 - rate) * q + rate * normalCdf((1 - a) / noise) - Math.exp(epsilon) * q;
      };
      expect(at(estimate) / delta).toBeCloseTo(1, 2);
      expect(at(lower)).toBeGreaterThan(delta);
      expect(at(upper)).toBeLessThan(delta);
    }
  });

  it('is at most what RDP gives, and grows with rounds and shrinks with delta and noise', () => {
    const setting = fc.record({
      noise: fc.double({ min: 0.7, max: 8, noNaN: true }),
      rate: fc.double({ min: 0.01, max: 1, noNaN: true }),
      steps: fc.integer({ min: 1, max: 60 }),
    });
    fc.assert(
      fc.property(setting, ({ noise, rate, steps }) => {
        const coarse = (noise: number, steps: number, delta: number) =>
          prvEpsilon(one(noise, rate, steps), delta, 0.05).estimate;
        const here = coarse(noise, steps, 1e-5);
        expect(here).toBeLessThanOrEqual(rdpEpsilon(one(noise, rate, steps), 1e-5).epsilon);
        expect(coarse(noise, steps + 1, 1e-5)).toBeGreaterThanOrEqual(here);
        expect(coarse(noise, steps, 1e-6)).toBeGreaterThanOrEqual(here);
        expect(coarse(noise * 1.1, steps, 1e-5)).toBeLessThanOrEqual(here);
      }),
      { numRuns: 15 },
    );
  });

  it('counts a history in any order and in any pieces alike', () => {
    const [a, b] = [
      { noise: 1, rate: 0.1, steps: 7 },
      { noise: 1.5, rate: 0.2, steps: 5 },
    ] as const;
    const whole = prvEpsilon([a, b], 1e-5).estimate;
    expect(prvEpsilon([b, { ...a, steps: 3 }, { ...a, steps: 4 }], 1e-5).estimate).toBeCloseTo(whole, 9);
    expect(rdpEpsilon([b, { ...a, steps: 3 }, { ...a, steps: 4 }], 1e-5).epsilon).toBeCloseTo(
      rdpEpsilon([a, b], 1e-5).epsilon,
      12,
    );
  });
});

describe('the noise for a small ε', () => {
  it('is found by RDP where orders up to 1024 would show none', () => {
    // Whatever the noise, order 1024 says no less than 0.0035 at δ = 1e-5.
    const plan = { delta: 1e-5, rate: 0.01, steps: 1000 } as const;
    const { noise, epsilon } = noiseFor({ ...plan, epsilon: 1e-3, accountant: 'rdp' });
    expect(rdpEpsilon(one(noise, plan.rate, plan.steps), plan.delta).epsilon).toBeLessThanOrEqual(1e-3);
    expect(epsilon).toBeGreaterThan(0.98e-3);
    // It is an upper bound: less noise would do, as PRV knows.
    expect(prvEpsilon(one(noise, plan.rate, plan.steps), plan.delta).upper).toBeLessThan(1e-3);
  });

  it('ends in words where PRV’s bounds stay too wide for it', () => {
    const plan = { delta: 1e-3, rate: 0.01, steps: 1e9, accountant: 'prv' } as const;
    expect(() => noiseFor({ ...plan, epsilon: 0.05 })).toThrow('finer than the PRV accountant can tell');
  });

  it('exists: ε falls with the noise wherever one looks', () => {
    for (const [rate, steps, delta] of [
      [0.1, 30, 1e-5],
      [1e-4, 2000, 1e-7],
      [1, 1, 0.5],
    ] as const) {
      const noises = Array.from({ length: 40 }, (_, i) => 0.05 * 1.5 ** i);
      const found = noises.map((noise) => rdpEpsilon(one(noise, rate, steps), delta).epsilon);
      for (let i = 1; i < found.length; i++) expect(found[i], `noise ${noises[i]}`).toBeLessThanOrEqual(found[i - 1]!);
    }
  });
});

describe('what cannot be accounted is refused by name', () => {
  it.each([
    [{ noise: 0 }, 'noise: expected a multiplier from 0.01 to 1000000 (without noise there is no differential privacy'],
    [{ noise: -1 }, 'noise: expected'],
    [{ noise: NaN }, 'noise: expected'],
    [{ rate: 0 }, 'rate: expected the chance of a client to be in a round, above 0 and at most 1, got 0'],
    [{ rate: 1.01 }, 'rate: expected'],
    [{ steps: 0 }, 'steps: expected a whole number of rounds, at least 1, got 0'],
    [{ steps: 1.5 }, 'steps: expected'],
    [{ delta: 0 }, 'delta: expected a probability above 0 and below 1'],
    [{ delta: 1 }, 'delta: expected'],
  ])('%o', (wrong, message) => {
    const { delta, ...spending } = { noise: 1, rate: 0.1, steps: 10, delta: 1e-5, ...wrong };
    expect(() => rdpEpsilon([spending], delta)).toThrow(message);
    expect(() => prvEpsilon([spending], delta)).toThrow(message);
  });

  it('a wanted ε that is none, or out of reach', () => {
    const question = { delta: 1e-5, rate: 0.1, steps: 10, accountant: 'rdp' } as const;
    expect(() => noiseFor({ ...question, epsilon: 0 })).toThrow('epsilon: expected a number above 0, got 0');
    expect(() => noiseFor({ ...question, epsilon: 1e9 })).toThrow('promises nothing');
    expect(() => noiseFor({ ...question, steps: 1e12, rate: 1, epsilon: 1e-6 })).toThrow('cannot be shown');
  });

  it('a delta that float64 could hide from PRV, with the way out', () => {
    expect(() => prvEpsilon(one(1, 0.1, 100), 1e-12)).toThrow('use the RDP accountant');
    expect(rdpEpsilon(one(1, 0.1, 100), 1e-12).epsilon).toBeGreaterThan(0);
  });

  it('nothing spent is nothing lost', () => {
    expect(rdpEpsilon([], 1e-5).epsilon).toBe(0);
    expect(prvEpsilon([], 1e-5)).toEqual({ lower: 0, estimate: 0, upper: 0 });
  });
});
