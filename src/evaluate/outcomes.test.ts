import { array, assert, double, property } from 'fast-check';
import { expect, it } from 'vitest';
import { outcomeOf, worseOff, worstShare } from './outcomes.ts';

const scores = (losses: Readonly<Record<string, number>>) =>
  Object.fromEntries(
    Object.entries(losses).map(([id, loss]) => [
      id,
      { loss, perplexity: Math.exp(loss), tokenAccuracy: 0.5, tokens: 10, rows: 2 },
    ]),
  );

it('takes the worst tenth of clients, rounded up to whole ones', () => {
  const losses = Array.from({ length: 20 }, (_, i) => ((7 * i) % 20) + 1);
  expect(worstShare(losses)).toBe(19.5);
  expect(worstShare(losses.slice(0, 10).map((_, i) => i))).toBe(9);
  expect(worstShare([...losses, 21])).toBe(20);
  expect(worstShare([3, 1])).toBe(3);
  expect(worstShare([1, 2, 3, 4], 0.5)).toBe(3.5);
  // 0.1 · 30 is just above 3 in floating point: still three clients.
  expect(worstShare(Array.from({ length: 30 }, (_, i) => i))).toBe(28);
  expect(() => worstShare([])).toThrow('no client');
});

it('lies between the mean and the largest loss', () => {
  assert(
    property(array(double({ min: 0, max: 20, noNaN: true }), { minLength: 1, maxLength: 60 }), (losses) => {
      const worst = worstShare(losses);
      expect(worst).toBeLessThanOrEqual(Math.max(...losses) + 1e-9);
      expect(worst).toBeGreaterThanOrEqual(losses.reduce((sum, loss) => sum + loss, 0) / losses.length - 1e-9);
      expect(worstShare(losses, 1)).toBeCloseTo(losses.reduce((sum, loss) => sum + loss, 0) / losses.length, 9);
    }),
  );
});

it('names who is worse off, strictly and only where there is a reference', () => {
  expect(worseOff(scores({ b: 2, a: 3, c: 1, d: 9 }), scores({ a: 2, b: 2, c: 0.5 }))).toEqual(['a', 'c']);
  expect(worseOff(scores({ constructor: 5 }), scores({}))).toEqual([]);
});

it('gives worst, variance and who lost against the base and against training alone', () => {
  const own = scores({ a: 1, b: 2, c: 3, d: 6 });
  expect(outcomeOf(own, scores({ a: 4, b: 4, c: 4, d: 4 }), scores({ a: 0.5, b: 3, c: 2.5, d: 7 }))).toEqual({
    clients: 4,
    worst: 6,
    variance: 3.5,
    worseThanBase: ['d'],
    worseThanLocal: ['a', 'c'],
  });
  expect(outcomeOf(own, own)).toEqual({ clients: 4, worst: 6, variance: 3.5, worseThanBase: [] });
});
