import { describe, expect, it } from 'vitest';
import { close, oneModule } from '../../tests/support/changes.ts';
import { matrix } from '../../tests/toy-adapter.ts';
import { AXES } from '../lora/axis.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { ratiosOf } from './ratios.ts';
import { changes, factorChange, MEASURES, moduleWithoutB, placeOf } from './sensitivity.ts';

describe('closed forms', () => {
  it('a vector turned by an angle has ΔD = 1 − cos and ΔM = 0', () => {
    for (const angle of [1e-4, 0.3, Math.PI / 3, Math.PI / 2, 2, Math.PI]) {
      const from = matrix([[1], [0]]);
      const to = matrix([[Math.cos(angle)], [Math.sin(angle)]]);
      const { deltaM, deltaD, deltaDRms, deltaDRelative } = factorChange(from, to, 0);
      // The sine and cosine are float32: the angle is right to about 6e-8.
      close(deltaM, 0, 1e-7);
      expect(deltaD! / (2 * Math.sin(angle / 2) ** 2)).toBeCloseTo(1, 3);
      close(deltaDRelative, 2 * Math.sin(angle / 2), 1e-7);
      close(deltaDRms, (2 * Math.sin(angle / 2)) / Math.sqrt(2), 1e-7);
    }
  });

  it('each vector is turned and stretched by itself: means over the vectors', () => {
    // Columns (3, 0) and (0, 4): the first doubled, the second turned by a right angle and halved.
    const { vectors, entries, undirected, ...measures } = factorChange(
      matrix([
        [3, 0],
        [0, 4],
      ]),
      matrix([
        [6, 2],
        [0, 0],
      ]),
      0,
    );
    expect({ vectors, entries, undirected }).toEqual({ vectors: 2, entries: 2, undirected: 0 });
    close(measures.deltaM, (3 + 2) / 2);
    close(measures.deltaMRms, 2.5 / Math.SQRT2);
    close(measures.deltaMRelative, 2.5 / 3.5);
    close(measures.deltaD, 0.5);
    close(measures.magnitudeFrom, 3.5);
    close(measures.magnitudeTo, 4);
  });

  it('all rows as one: the same matrix by rows', () => {
    const change = factorChange(matrix([[3, 4]]), matrix([[-3, -4]]), 1);
    expect(change).toMatchObject({ vectors: 1, entries: 2, deltaM: 0 });
    close(change.deltaD, 2);
    close(change.deltaDRelative, 2);
  });

  it('a direction’s smallest turn is not lost to rounding', () => {
    const { deltaD } = factorChange(matrix([[1], [0]]), matrix([[1], [2 ** -30]]), 0);
    expect(deltaD).toBeGreaterThan(0);
    expect(deltaD! / 2 ** -61).toBeCloseTo(1, 9);
  });
});

describe('zero vectors', () => {
  it('count in ΔM, and not in ΔD, which divides by nothing', () => {
    const from = matrix([
      [0, 1, 2, 0],
      [0, 0, 0, 0],
    ]);
    const to = matrix([
      [3, 0, 0, 0],
      [4, 1, 0, 0],
    ]);
    const change = factorChange(from, to, 0);
    expect(change).toMatchObject({ vectors: 4, undirected: 3, deltaD: 1 });
    close(change.deltaM, (5 + 0 + 2 + 0) / 4);
  });

  it('leave no ΔD where no vector has a direction on both sides', () => {
    const zero = matrix([[0, 0]]);
    const change = factorChange(zero, matrix([[1, 2]]), 0);
    expect(change).toMatchObject({
      deltaD: null,
      deltaDRms: null,
      deltaDRelative: null,
      deltaMRelative: null,
      deltaM: 1.5,
    });
    expect(factorChange(zero, zero, 0)).toMatchObject({ deltaD: null, deltaM: 0, undirected: 2 });
  });

  it('a module whose B is zero is found', () => {
    const a = matrix([[1, 2]]);
    expect(moduleWithoutB(oneModule(a, matrix([[0], [0]])))?.name).toBe('model.layers.3.self_attn.q_proj');
    expect(moduleWithoutB(oneModule(a, matrix([[0], [1e-30]])))).toBeUndefined();
  });
});

// Made with NumPy 2 (float64 norms of float32 matrices):
//   f = lambda n, k, c: np.sin(c*np.arange(n*k) + 0.3).astype(np.float32).reshape(n, k)
//   A1, A2, B1, B2 = f(3,4,1.0), f(3,4,1.1), f(5,3,0.7), f(5,3,0.75)*2
//   X, Y = X1.astype(float), X2.astype(float); m, n = norm(X, axis), norm(Y, axis); k = X.shape[axis]
//   cos = (X*Y).sum(axis)/(m*n); dm, dd = abs(n - m).mean(), (1 - cos).mean()
//   [dm, dm/k**.5, dm/m.mean(), dd, (2*dd/k)**.5, (2*dd)**.5]
// axis: column 0 and 0, rank 1 and 0, row 1 and 1 of A and B.
const reference = {
  'A column': [
    0.1578888043574483, 0.09115714369780092, 0.12741358418645096, 0.1785338784284351, 0.34499650087929407,
    0.5975514679564181,
  ],
  'A rank': [
    0.12804085671048812, 0.06402042835524406, 0.08950686343522432, 0.18405546939922568, 0.30336073361529975,
    0.6067214672305995,
  ],
  'A row': [
    0.12804085671048812, 0.06402042835524406, 0.08950686343522432, 0.18405546939922568, 0.30336073361529975,
    0.6067214672305995,
  ],
  'B column': [
    1.6254547047653685, 0.726925442840443, 1.0582286490708412, 0.09050952587107193, 0.1902729890142812,
    0.42546333771800343,
  ],
  'B rank': [
    1.6254547047653685, 0.726925442840443, 1.0582286490708412, 0.09050952587107193, 0.1902729890142812,
    0.42546333771800343,
  ],
  'B row': [
    1.2674655579731628, 0.7317715810843848, 1.0798901443486784, 0.1001292623015417, 0.2583657127684731,
    0.4475025414487424,
  ],
};

describe('against NumPy', () => {
  const waves = (rows: number, columns: number, frequency: number, factor = 1): Tensor => ({
    shape: [rows, columns],
    data: Float32Array.from({ length: rows * columns }, (_, i) => Math.fround(Math.sin(frequency * i + 0.3)) * factor),
  });
  const found = changes(oneModule(waves(3, 4, 1), waves(5, 3, 0.7)), oneModule(waves(3, 4, 1.1), waves(5, 3, 0.75, 2)));

  it('every measure of both factors in all axes, to 1e-6', () => {
    expect(found.length).toBe(6);
    for (const change of found) {
      const expected = reference[`${change.factor} ${change.axis}`];
      for (const [i, measure] of MEASURES.slice(0, 6).entries()) close(change[measure], expected[i]!, 1e-6);
      expect(change).toMatchObject({ layer: 3, kind: 'q_proj', undirected: 0 });
    }
  });

  it('the ratios: A over B of directions, B over A of magnitudes', () => {
    for (const axis of AXES) {
      const ratios = ratiosOf(found.filter((change) => change.axis === axis));
      const [a, b] = [reference[`A ${axis}`], reference[`B ${axis}`]];
      close(ratios.magnitude.raw, b[0]! / a[0]!, 1e-6);
      close(ratios.magnitude.rms, b[1]! / a[1]!, 1e-6);
      close(ratios.magnitude.relative, b[2]! / a[2]!, 1e-6);
      close(ratios.direction.raw, a[3]! / b[3]!, 1e-6);
      close(ratios.direction.rms, a[4]! / b[4]!, 1e-6);
      close(ratios.direction.relative, a[5]! / b[5]!, 1e-6);
    }
  });
});

it('names the layer and the kind of a projection', () => {
  expect(placeOf('model.layers.12.mlp.down_proj')).toEqual({ layer: 12, kind: 'down_proj' });
});

it('has no ratio where the divisor is 0', () => {
  const [a1, a2, b] = [matrix([[1, 2]]), matrix([[2, 2]]), matrix([[1], [1]])];
  const still = ratiosOf(changes(oneModule(a1, b), oneModule(a2, b)).filter(({ axis }) => axis === 'column'));
  expect(still.direction).toEqual({ raw: null, rms: null, relative: null });
  expect(still.magnitude).toEqual({ raw: 0, rms: 0, relative: 0 });
});

it('refuses adapters of different shapes', () => {
  const [a, b] = [matrix([[1, 2]]), matrix([[1], [1]])];
  expect(() => changes(oneModule(a, b), oneModule(matrix([[1, 2, 3]]), b))).toThrow(
    /the later adapter has .* of shape \[1, 3\]/,
  );
});
