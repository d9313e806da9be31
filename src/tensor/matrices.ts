import type { Tensor } from './tensor.ts';

/** X·Y for X [m, k] and Y [k, n], summed in float64. */
export function times(x: Tensor, y: Tensor): Tensor {
  const [[m, k], n] = [x.shape as [number, number], y.shape[1]!];
  const data = new Float32Array(m * n);
  for (let i = 0; i < m; i++) {
    for (let j = 0; j < n; j++) {
      let sum = 0;
      for (let l = 0; l < k; l++) sum += x.data[i * k + l]! * y.data[l * n + j]!;
      data[i * n + j] = sum;
    }
  }
  return { shape: [m, n], data };
}

/** Xᵀ·Y for X [m, k] and Y [m, n]. */
export function transposedTimes(x: Tensor, y: Tensor): Tensor {
  const [[m, k], n] = [x.shape as [number, number], y.shape[1]!];
  const data = new Float32Array(k * n);
  for (let i = 0; i < k; i++) {
    for (let j = 0; j < n; j++) {
      let sum = 0;
      for (let l = 0; l < m; l++) sum += x.data[l * k + i]! * y.data[l * n + j]!;
      data[i * n + j] = sum;
    }
  }
  return { shape: [k, n], data };
}

/** X·Yᵀ for X [m, k] and Y [n, k]. */
export function timesTransposed(x: Tensor, y: Tensor): Tensor {
  const [[m, k], n] = [x.shape as [number, number], y.shape[0]!];
  const data = new Float32Array(m * n);
  for (let i = 0; i < m; i++) {
    for (let j = 0; j < n; j++) {
      let sum = 0;
      for (let l = 0; l < k; l++) sum += x.data[i * k + l]! * y.data[j * k + l]!;
      data[i * n + j] = sum;
    }
  }
  return { shape: [m, n], data };
}
