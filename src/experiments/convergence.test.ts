import { describe, expect, it } from 'vitest';
import { armCurves, lastImprovement } from './convergence.ts';
import type { SweepCell, SweepResults } from './results.ts';
import { sweepFixture } from '../../tests/sweep-fixture.ts';

/** One arm with a curve per seed; a stage is its losses in order. */
function curvesOf(
  ...seeds: readonly (readonly (readonly [stage: string, losses: readonly number[]])[])[]
): SweepResults {
  const results = sweepFixture({ methods: 1, clients: 2, seeds: seeds.map((_, i) => i + 1), tuned: false });
  const cells = results.cells.map((cell, i): SweepCell => {
    const points = seeds[i]!.flatMap(([stage, losses]) => losses.map((loss) => ({ stage, loss })));
    return { ...cell, curve: points.map((point, at) => ({ ...point, round: at + 1 })) };
  });
  return { ...results, cells };
}

describe('the improvement of the last fifth', () => {
  it('compares its mean with that of the fifth before', () => {
    expect(lastImprovement([9, 9, 9, 4, 3])).toBeCloseTo(0.25, 14);
    expect(lastImprovement([9, 9, 9, 9, 9, 9, 5, 3, 2, 1])).toBeCloseTo(1 - 1.5 / 4, 14);
    // Six points: a fifth is two of them.
    expect(lastImprovement([9, 9, 6, 4, 3, 1])).toBeCloseTo(0.6, 14);
    expect(lastImprovement([1, 1, 1, 1])).toBeUndefined();
  });

  it('is 1 − q^f on a geometric curve, whatever its height, and 0 on a flat one', () => {
    for (const q of [0.9, 0.99, 1]) {
      const curve = Array.from({ length: 20 }, (_, i) => 3 * q ** i);
      expect(lastImprovement(curve)).toBeCloseTo(1 - q ** 4, 12);
    }
  });
});

describe('an arm', () => {
  const falling = [5, 4, 3, 2, 1];
  const flat = [3, 2, 1.01, 1, 0.998];

  it.each([
    [0.0099, 'converged'],
    [0.0101, 'falling'],
    [-0.0099, 'converged'],
    [-0.0101, 'rising'],
  ])('whose last fifth is better by %f of the one before is %s: a hundredth decides', (improvement, progress) => {
    const [one] = armCurves(curvesOf([['federated', [3, 2, 1.5, 1, 1 - improvement]]]));
    expect(one!.stages[0]!.progress).toBe(progress);
    expect(one!.converged).toBe(progress === 'converged');
  });

  it('has converged where every stage long enough has', () => {
    const [one] = armCurves(
      curvesOf([
        ['federated', flat],
        ['global', [0.9, 0.8]],
      ]),
    );
    expect(one).toMatchObject({
      converged: true,
      stages: [
        { stage: 'federated', points: 5, progress: 'converged' },
        { stage: 'global', points: 2, progress: 'too few points', improvement: undefined },
      ],
    });
    expect(
      armCurves(
        curvesOf([
          ['federated', falling],
          ['global', flat],
        ]),
      )[0]!.converged,
    ).toBe(false);
    expect(armCurves(curvesOf([['federated', [3, 2, 1]]]))[0]!.converged).toBeUndefined();
  });

  it('has not converged where the loss rises', () => {
    const [one] = armCurves(curvesOf([['federated', [3, 2, 1, 1, 1.1]]]));
    expect(one!.converged).toBe(false);
    expect(one!.stages[0]!.progress).toBe('rising');
  });

  it('is judged by the mean over seeds, of the rounds that all have', () => {
    const [one] = armCurves(curvesOf([['federated', [5, 4, 3, 2, 1.5, 1.5]]], [['federated', [7, 6, 5, 2, 2.5]]]));
    expect(one!.points.map(({ mean, low, high }) => [mean, low, high])).toEqual([
      [6, 5, 7],
      [5, 4, 6],
      [4, 3, 5],
      [2, 2, 2],
      [2, 1.5, 2.5],
    ]);
    expect(one!.stages[0]).toMatchObject({ improvement: 0, progress: 'converged' });
  });

  it('joins a stage that takes turns with another into one curve', () => {
    const turns = [1, 0.5, 0.4, 0.4, 0.4].flatMap((loss, i): [string, number[]][] => [
      ['federated', [2 * loss]],
      ['global', [1 - i / 10]],
    ]);
    const [one] = armCurves(curvesOf(turns));
    expect(one!.stages.map(({ stage, points, progress }) => [stage, points, progress])).toEqual([
      ['federated', 5, 'converged'],
      ['global', 5, 'falling'],
    ]);
  });

  it('without a curve is left out', () => {
    expect(armCurves(sweepFixture({ methods: 4 })).map(({ label }) => label)).not.toContain('local only');
  });
});
