import * as fc from 'fast-check';
import type { Tensor, Tensors } from '../src/tensor/tensor.ts';

/** Test data: float32 numbers of any size and sign that neither overflow nor vanish when squared and added up. */
export const float = fc.oneof(
  fc.float({ noNaN: true, noDefaultInfinity: true, min: Math.fround(-1e3), max: Math.fround(1e3) }),
  fc.constantFrom(0, -0, 1, -1, Math.fround(1e-30)),
);

export const matrix = (rows: number, columns: number, entry: fc.Arbitrary<number> = float): fc.Arbitrary<Tensor> =>
  fc
    .array(entry, { minLength: rows * columns, maxLength: rows * columns })
    .map((values) => ({ shape: [rows, columns], data: Float32Array.from(values) }));

/** Any matrix of up to 6 × 6. */
export const anyMatrix = (entry: fc.Arbitrary<number> = float): fc.Arbitrary<Tensor> =>
  fc.tuple(fc.integer({ min: 1, max: 6 }), fc.integer({ min: 1, max: 6 })).chain(([r, c]) => matrix(r, c, entry));

/** Maps of the same names and shapes, `count` of them. */
export const likeTensors = (count: number, entry: fc.Arbitrary<number> = float): fc.Arbitrary<Tensors[]> =>
  fc
    .uniqueArray(fc.string(), { minLength: 1, maxLength: 4 })
    .chain((names) =>
      fc.tuple(...names.map((name) => fc.tuple(fc.constant(name), fc.nat({ max: 5 }), fc.integer({ min: 1, max: 4 })))),
    )
    .chain((shapes) => {
      const one = fc
        .tuple(...shapes.map(([name, rows, columns]) => matrix(rows, columns, entry).map((t) => [name, t] as const)))
        .map((entries): Tensors => new Map(entries));
      return fc.array(one, { minLength: count, maxLength: count });
    });
