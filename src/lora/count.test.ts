import { describe, expect, it } from 'vitest';
import { toyAdapter, toyLayout } from '../../tests/toy-adapter.ts';
import { countNumbers } from '../tensor/tensors.ts';
import { AXES } from './axis.ts';
import { trainableCount } from './count.ts';
import { directionOfA, directionOfB } from './direction.ts';
import { factors, onlyA, onlyB } from './factors.ts';
import { magnitudeOfA, magnitudeOfB } from './magnitude.ts';

describe('trainableCount', () => {
  it('has the floats of ALGORITHMS §6: 32 layers, q and v, 4096², r 8', () => {
    const layout = toyLayout({ modules: 64, rank: 8, inFeatures: 4096, outFeatures: 4096 });
    expect(trainableCount(layout, 'AB')).toBe(4_194_304);
    expect(trainableCount(layout, 'B')).toBe(2_097_152);
    expect(trainableCount(layout, 'A')).toBe(2_097_152);
  });

  it('has METHOD’s counts: r·d_in in stage 1; in stage 2 r, or d_out for row (invariant 9)', () => {
    // SmolLM2-135M: 30 layers, q [576, 576] and v [192, 576], r 8.
    const module = { rank: 8, alpha: 16, scale: 2, inFeatures: 576 };
    const layout = {
      rslora: false,
      modules: Array.from({ length: 60 }, (_, i) => ({
        ...module,
        name: `m${i}`,
        outFeatures: i % 2 === 0 ? 576 : 192,
      })),
    };
    expect(trainableCount(layout, 'AB')).toBe(460_800);
    expect(trainableCount(layout, 'A')).toBe(60 * 8 * 576);
    expect(trainableCount(layout, { magnitudeOf: 'B', axis: 'column' })).toBe(480);
    expect(trainableCount(layout, { magnitudeOf: 'B', axis: 'rank' })).toBe(480);
    expect(trainableCount(layout, { magnitudeOf: 'B', axis: 'row' })).toBe(23_040);
    expect(trainableCount(layout, { magnitudeOf: 'A', axis: 'column' })).toBe(60 * 576);
    expect(trainableCount(layout, { magnitudeOf: 'A', axis: 'rank' })).toBe(480);
  });

  it.each(AXES)('counts what the parametrisations have for params, axis %s', (axis) => {
    const layout = toyLayout({ modules: 3, rank: 4 });
    const adapter = toyAdapter(layout, 1);
    for (const [how, what] of [
      [factors(), 'AB'],
      [onlyA(), 'A'],
      [onlyB(), 'B'],
      [directionOfA({ axis }), 'A'],
      [directionOfB({ axis }), 'B'],
      [magnitudeOfA({ axis }), { magnitudeOf: 'A', axis }],
      [magnitudeOfB({ axis }), { magnitudeOf: 'B', axis }],
    ] as const) {
      expect(countNumbers(how.at(adapter).init)).toBe(trainableCount(layout, what));
    }
  });
});
