import type { Tensor } from './tensor.ts';

/** Ones on the diagonal, zeros elsewhere. */
export function identity(rows: number, columns = rows): Tensor {
  const data = new Float32Array(rows * columns);
  for (let i = 0; i < Math.min(rows, columns); i++) data[i * columns + i] = 1;
  return { shape: [rows, columns], data };
}

/** A matrix as it is read: its numbers, and how far the next one is down a column and along a row. */
interface Read {
  readonly data: Float32Array;
  readonly rows: number;
  readonly columns: number;
  readonly down: number;
  readonly along: number;
}

const asIs = ({ shape, data }: Tensor): Read => {
  const [rows, columns] = shape as [number, number];
  return { data, rows, columns, down: columns, along: 1 };
};

const turned = ({ data, rows, columns, down, along }: Read): Read => ({
  data,
  rows: columns,
  columns: rows,
  down: along,
  along: down,
});

/** Summed in float64. */
function product(x: Read, y: Read): Tensor {
  const data = new Float32Array(x.rows * y.columns);
  for (let i = 0; i < x.rows; i++) {
    for (let j = 0; j < y.columns; j++) {
      let sum = 0;
      for (let l = 0; l < x.columns; l++) sum += x.data[i * x.down + l * x.along]! * y.data[l * y.down + j * y.along]!;
      data[i * y.columns + j] = sum;
    }
  }
  return { shape: [x.rows, y.columns], data };
}

/** X·Y for X [m, k] and Y [k, n]. */
export const times = (x: Tensor, y: Tensor): Tensor => product(asIs(x), asIs(y));

/** Xᵀ·Y for X [m, k] and Y [m, n]. */
export const transposedTimes = (x: Tensor, y: Tensor): Tensor => product(turned(asIs(x)), asIs(y));

/** X·Yᵀ for X [m, k] and Y [n, k]. */
export const timesTransposed = (x: Tensor, y: Tensor): Tensor => product(asIs(x), turned(asIs(y)));
