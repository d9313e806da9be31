import { expect, test } from 'vitest';
import { selectClients } from './select.ts';

const names = Array.from({ length: 20 }, (_, i) => `client-${String(i).padStart(2, '0')}`);
const rounds = Array.from({ length: 4000 }, (_, i) => i);

test('all takes everyone, whatever the fraction', () => {
  expect(selectClients(names, { sampling: 'all', fraction: 0.1 }, 1, 'federated', 0)).toEqual(names);
});

test('fixed takes round(fraction·n) different clients, at least one, sorted', () => {
  for (const [fraction, count] of [
    [0.25, 5],
    [0.33, 7],
    [0.001, 1],
    [1, 20],
  ] as const) {
    const chosen = selectClients(names, { sampling: 'fixed', fraction }, 1, 'federated', 0);
    expect(chosen).toHaveLength(count);
    expect(new Set(chosen).size).toBe(count);
    expect([...chosen].sort()).toEqual(chosen);
  }
});

test('fixed takes every client equally often', () => {
  const counts = new Map<string, number>();
  for (const round of rounds) {
    for (const name of selectClients(names, { sampling: 'fixed', fraction: 0.25 }, 7, 's', round)) {
      counts.set(name, (counts.get(name) ?? 0) + 1);
    }
  }
  // Binomial(4000, 1/4): standard deviation 27.4; 5 of them either way.
  for (const name of names) expect(Math.abs(counts.get(name)! - 1000)).toBeLessThan(5 * 27.4);
});

test('poisson takes each client by itself: the number of clients is binomial', () => {
  const sizes = rounds.map(
    (round) => selectClients(names, { sampling: 'poisson', fraction: 0.25 }, 7, 's', round).length,
  );
  const mean = sizes.reduce((sum, size) => sum + size, 0) / sizes.length;
  const variance = sizes.reduce((sum, size) => sum + (size - mean) ** 2, 0) / sizes.length;
  // Binomial(20, 1/4): mean 5, variance 3.75; standard errors over 4000 rounds 0.031 and about 0.083.
  expect(Math.abs(mean - 5)).toBeLessThan(5 * 0.031);
  expect(Math.abs(variance - 3.75)).toBeLessThan(5 * 0.083);
  expect(sizes).toContain(0);
});

test('the draw depends on seed, stage and round, and repeats', () => {
  const draw = (seed: number, stage: string, round: number): readonly string[] =>
    selectClients(names, { sampling: 'fixed', fraction: 0.5 }, seed, stage, round);
  expect(draw(1, 'a', 0)).toEqual(draw(1, 'a', 0));
  for (const other of [draw(2, 'a', 0), draw(1, 'b', 0), draw(1, 'a', 1)]) expect(other).not.toEqual(draw(1, 'a', 0));
});
