import * as fc from 'fast-check';
import { it } from 'vitest';
import { close, oneModule } from '../../tests/support/changes.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { ratiosOf } from './ratios.ts';
import { changes, factorChange, MEASURES, type Measures } from './sensitivity.ts';

const number = fc.double({ min: 0.1, max: 3, noNaN: true }).chain((x) => fc.constantFrom(x, -x));
const pair = fc
  .tuple(fc.integer({ min: 1, max: 5 }), fc.integer({ min: 1, max: 5 }))
  .chain(([rows, columns]) =>
    fc.tuple(
      fc.constant([rows, columns] as const),
      fc.array(number, { minLength: rows * columns, maxLength: rows * columns }),
      fc.array(number, { minLength: rows * columns, maxLength: rows * columns }),
    ),
  );
const built = (shape: readonly number[], data: readonly number[]): Tensor => ({
  shape,
  data: Float32Array.from(data),
});
const over = fc.constantFrom(0 as const, 1 as const);
const same = (x: Measures, y: Measures, but: readonly string[] = [], within = 1e-5): void => {
  for (const measure of MEASURES) if (!but.includes(measure)) close(x[measure], y[measure] ?? NaN, within);
};

fc.configureGlobal({ numRuns: 40 });

it('stretching changes magnitudes only, by as much as was stretched', () => {
  fc.assert(
    fc.property(pair, over, fc.double({ min: 0.2, max: 5, noNaN: true }), ([shape, data], axis, factor) => {
      const from = built(shape, data);
      const change = factorChange(
        from,
        built(
          shape,
          data.map((x) => x * factor),
        ),
        axis,
      );
      close(change.deltaD, 0, 1e-12);
      close(change.deltaMRelative, Math.abs(factor - 1), 1e-6);
    }),
  );
});

it('turning changes directions only, whatever the lengths: 1 − cos of the angle', () => {
  const lengths = fc.array(fc.double({ min: 0.1, max: 9, noNaN: true }), { minLength: 1, maxLength: 6 });
  fc.assert(
    fc.property(lengths, fc.double({ min: -3, max: 3, noNaN: true }), (radii, angle) => {
      const at = (turn: number): Tensor =>
        built(
          [2, radii.length],
          [Math.cos, Math.sin].flatMap((wave) => radii.map((radius, i) => radius * wave(i + turn))),
        );
      const change = factorChange(at(0), at(angle), 0);
      close(change.deltaM, 0, 1e-6);
      close(change.deltaD, 1 - Math.cos(angle), 1e-6);
    }),
  );
});

it('time may run backwards; only what is relative to the start differs', () => {
  fc.assert(
    fc.property(pair, over, ([shape, x, y], axis) => {
      const [from, to] = [built(shape, x), built(shape, y)];
      same(factorChange(from, to, axis), factorChange(to, from, axis), [
        'deltaMRelative',
        'magnitudeFrom',
        'magnitudeTo',
      ]);
    }),
  );
});

it('rows become columns: the other axis of the transposed', () => {
  const transposed = ({ shape: [rows, columns], data }: Tensor): Tensor => ({
    shape: [columns!, rows!],
    data: Float32Array.from({ length: data.length }, (_, i) => data[(i % rows!) * columns! + Math.floor(i / rows!)]!),
  });
  fc.assert(
    fc.property(pair, ([shape, x, y]) => {
      const [from, to] = [built(shape, x), built(shape, y)];
      same(factorChange(from, to, 0), factorChange(transposed(from), transposed(to), 1), [], 1e-12);
    }),
  );
});

it('an orthogonal change of basis within the vectors, and their order, change nothing', () => {
  const basis = ({ shape, data }: Tensor, angle: number): Tensor => {
    const [rows, columns] = shape as [number, number];
    const out = data.slice();
    if (rows === 1) return { shape, data: out };
    for (let c = 0; c < columns; c++) {
      const [p, q] = [data[c]!, data[columns + c]!];
      out[c] = Math.cos(angle) * p - Math.sin(angle) * q;
      out[columns + c] = Math.sin(angle) * p + Math.cos(angle) * q;
    }
    return { shape, data: out };
  };
  const reversed = ({ shape, data }: Tensor): Tensor => ({ shape, data: data.toReversed() });
  fc.assert(
    fc.property(pair, fc.double({ min: -3, max: 3, noNaN: true }), ([shape, x, y], angle) => {
      const [from, to] = [built(shape, x), built(shape, y)];
      const change = factorChange(from, to, 0);
      same(change, factorChange(basis(from, angle), basis(to, angle), 0));
      // Reversing all entries reverses the vectors and, the same for both, the entries within them.
      same(change, factorChange(reversed(from), reversed(to), 0), [], 1e-12);
    }),
  );
});

it('the gauge (c·A, B/c) leaves directions and relative magnitudes, and moves the raw ratio of magnitudes by 1/c²', () => {
  fc.assert(
    fc.property(fc.double({ min: 0.2, max: 5, noNaN: true }), (c) => {
      const scaled = ({ shape, data }: Tensor, by: number): Tensor => ({ shape, data: data.map((x) => x * by) });
      const [a1, a2, b1, b2] = [
        built([2, 3], [1, 2, 3, 4, 5, -6]),
        built([2, 3], [1, 1, 2, 5, 5, -7]),
        built([2, 2], [1, -1, 2, 1]),
        built([2, 2], [2, -3, 2, 4]),
      ];
      const plain = ratiosOf(changes(oneModule(a1, b1), oneModule(a2, b2)).filter(({ axis }) => axis === 'column'));
      const gauged = ratiosOf(
        changes(oneModule(scaled(a1, c), scaled(b1, 1 / c)), oneModule(scaled(a2, c), scaled(b2, 1 / c))).filter(
          ({ axis }) => axis === 'column',
        ),
      );
      for (const kind of ['raw', 'rms', 'relative'] as const) {
        close(gauged.direction[kind], plain.direction[kind]!, 1e-5);
      }
      close(gauged.magnitude.relative, plain.magnitude.relative!, 1e-5);
      close(gauged.magnitude.raw, plain.magnitude.raw! / c ** 2, 1e-5);
    }),
  );
});
