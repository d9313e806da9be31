import type { SweepArm, SweepCell, SweepResults } from '../src/experiments/results.ts';
import { placedRounds } from '../src/report/facts.ts';
import type { MethodSummary } from '../src/report/summary.ts';
import { stream } from '../src/tensor/random.ts';
import { summaryFixture, type FixtureOptions } from './summary-fixture.ts';

export interface SweepFixtureOptions extends FixtureOptions {
  readonly seeds?: readonly number[];
  /** Whether arms were tuned. */
  readonly tuned?: boolean;
}

const scaled = new Set(['loss', 'validationLoss', 'trainLoss', 'pooledLoss', 'matrix']);

/** A copy with every loss in it times `factor`. */
function scale<T>(value: T, factor: number, on = false): T {
  if (typeof value === 'number') return (on ? value * factor : value) as T;
  if (Array.isArray(value)) return value.map((one: unknown) => scale(one, factor, on)) as T;
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, one]) => [key, scale(one as unknown, factor, on || scaled.has(key))]),
  ) as T;
}

/** A made-up sweep with the shapes and sizes of a real one: for tests of statistics' shell and report only, none of it was measured. */
export function sweepFixture(options: SweepFixtureOptions = {}): SweepResults {
  const { seeds = [1, 2, 3, 4, 5], tuned = true, methods = 5 } = options;
  const summary = summaryFixture({ ...options, methods });
  const arms = summary.methods.map(({ label, use, options: own }, i): SweepArm => {
    const rates = [0.001, 0.003, 0.01, 0.03];
    const tried = rates.map((rate, j) => ({
      options: { rate },
      validationLoss: 1.3 + 0.02 * (j - 1 - (i % 2)) ** 2,
      seeds: [101, 102],
    }));
    return { label, use, options: { ...own, ...(tuned && { rate: rates[1 + (i % 2)]! }) }, tried: tuned ? tried : [] };
  });
  const cells = seeds.flatMap((seed) => {
    const common = 1 + 0.04 * stream(seed, 'common').normal();
    const base = scale(summary.base, common);
    return summary.methods.map((method, i): SweepCell => {
      const own: MethodSummary = scale(method, common * (1 + 0.02 * stream(seed, 'own', i).normal()));
      const curve = placedRounds(own).flatMap(({ at, stage, validation }) =>
        validation === undefined ? [] : [{ round: at, stage: own.stages[stage]!.name, loss: validation }],
      );
      return { arm: own.label, seed, method: own, base, curve, seconds: own.seconds };
    });
  });
  return { baseline: arms[Math.min(1, arms.length - 1)]!.label, seeds, arms, cells };
}
