import type { Tensor } from '../tensor/tensor.ts';

/** A tensor as bytes: row i is scales[i]·values. Rows run along the last dimension; a vector is one row. */
export interface Int8Rows {
  readonly shape: readonly number[];
  readonly values: Int8Array;
  readonly scales: Float32Array;
}

/** How many numbers a row has. */
const rowLength = (shape: readonly number[]): number => shape.at(-1) ?? 1;

/** How many rows a tensor of so many numbers has. */
export const rowsOf = (shape: readonly number[], numbers: number): number =>
  rowLength(shape) === 0 ? 0 : numbers / rowLength(shape);

/**
 * One scale max|x|/127 per row. With `uniform` (draws from [0, 1)) rounding is stochastic: up or down with the chances that make
 * the expectation exact, off by less than one scale; without, to nearest, off by at most half a scale.
 * Throws where a number is not finite.
 */
export function toInt8(tensor: Tensor, uniform?: () => number): Int8Rows {
  const { shape, data } = tensor;
  const length = rowLength(shape);
  const rows = rowsOf(shape, data.length);
  const values = new Int8Array(data.length);
  const scales = new Float32Array(rows);
  for (let row = 0; row < rows; row++) {
    const scale = scaleOf(data.subarray(row * length, (row + 1) * length));
    scales[row] = scale;
    if (scale === 0) continue;
    for (let i = row * length; i < (row + 1) * length; i++) {
      values[i] = Math.floor(data[i]! / scale + (uniform === undefined ? 0.5 : uniform()));
    }
  }
  return { shape, values, scales };
}

/** max|x|/127 as a float32, rounded up so that no quotient exceeds 127 and rounding stays unbiased there. */
function scaleOf(row: Float32Array): number {
  let largest = 0;
  for (const x of row) {
    if (!Number.isFinite(x)) throw new Error(`a tensor that holds ${x} cannot be compressed`);
    largest = Math.max(largest, Math.abs(x));
  }
  const scale = Math.fround(largest / 127);
  if (scale * 127 >= largest) return scale;
  return scale === 0 ? 2 ** -149 : Math.fround(scale * (1 + 2 ** -23) + 2 ** -150);
}

/** The tensor that bytes stand for. */
export function fromInt8({ shape, values, scales }: Int8Rows): Tensor {
  const length = rowLength(shape);
  const data = new Float32Array(values.length);
  for (let i = 0; i < data.length; i++) data[i] = values[i]! * scales[Math.floor(i / length)]!;
  return { shape, data };
}
