import type { Tensor } from '../tensor/tensor.ts';

/**
 * Which vectors of the factors have a magnitude and a direction (METHOD.md).
 * `column`: the columns of A and of B. `rank`: the rows of A and the columns of B. `row`: the rows of both.
 */
export type Axis = 'column' | 'rank' | 'row';
export const AXES: readonly Axis[] = ['column', 'rank', 'row'];

/** The dimension that a norm sums over: 0 takes columns as vectors, 1 rows. */
export type NormAxis = 0 | 1;

/** Full: the gradient goes through the norm. Detach: the norm counts as a constant (as in DoRA's code). Off: no norm. */
export type Renormalise = 'full' | 'detach' | 'off';

export const normAxis = (factor: 'A' | 'B', axis: Axis): NormAxis =>
  axis === 'row' || (axis === 'rank' && factor === 'A') ? 1 : 0;

/** Of one magnitude per vector: [1, columns] for columns, [rows, 1] for rows. */
export function magnitudeShape([rows, columns]: readonly [number, number], over: NormAxis): [number, number] {
  return over === 0 ? [1, columns] : [rows, 1];
}

/** How to walk a matrix vector by vector: element (r, c) at r·columns + c belongs to vector r·perRow + c·perColumn. */
export interface Walk {
  readonly rows: number;
  readonly columns: number;
  readonly perRow: 0 | 1;
  readonly perColumn: 0 | 1;
  readonly vectors: number;
}

export function walk({ shape }: Tensor, over: NormAxis): Walk {
  const [rows, columns] = shape;
  if (rows === undefined || columns === undefined || shape.length !== 2) {
    throw new Error(`magnitudes and directions are of matrices, not of a tensor of shape [${shape.join(', ')}]`);
  }
  return over === 0
    ? { rows, columns, perRow: 0, perColumn: 1, vectors: columns }
    : { rows, columns, perRow: 1, perColumn: 0, vectors: rows };
}

/** The inner products of x's vectors with y's, in float64; the squared norms where y is x. */
export function innerProducts(x: Float32Array, y: Float32Array, by: Walk): Float64Array {
  const { rows, columns, perRow, perColumn } = by;
  const products = new Float64Array(by.vectors);
  for (let r = 0, i = 0; r < rows; r++) {
    for (let c = 0, v = r * perRow; c < columns; c++, i++, v += perColumn) {
      products[v] = products[v]! + x[i]! * y[i]!;
    }
  }
  return products;
}
