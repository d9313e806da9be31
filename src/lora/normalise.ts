import type { Tensor } from '../tensor/tensor.ts';
import { innerProducts, type NormAxis, type Renormalise, walk } from './axis.ts';

/** Vectors shorter than this have no direction: they cancelled (METHOD.md, `cancelling`). */
export const CANCELLED = 1e-12;

/**
 * n(·): every vector divided by its L2 norm. A vector that cancelled (norm < 1e-12) becomes that of `previous`, or zero
 * without one; nothing divides by zero.
 */
export function normalise(x: Tensor, over: NormAxis, previous?: Tensor): Tensor {
  const by = walk(x, over);
  if (previous !== undefined && previous.data.length !== x.data.length) {
    throw new Error(`the previous directions have shape [${previous.shape.join(', ')}], not [${x.shape.join(', ')}]`);
  }
  const norms = innerProducts(x.data, x.data, by).map(Math.sqrt);
  const out = new Float32Array(x.data.length);
  for (let r = 0, i = 0; r < by.rows; r++) {
    for (let c = 0, v = r * by.perRow; c < by.columns; c++, i++, v += by.perColumn) {
      const length = norms[v]!;
      out[i] = length < CANCELLED ? (previous?.data[i] ?? 0) : x.data[i]! / length;
    }
  }
  return { shape: x.shape, data: out };
}

/**
 * The gradient with respect to x of a loss whose gradient with respect to n(x) is `gradient`, vector by vector:
 * (g − (⟨g, x⟩/‖x‖²)·x)/‖x‖ in full, g/‖x‖ detached, g where n is off. Vectors that cancelled get 0. (METHOD.md; DoRA §4.3)
 */
export function normalisePullback(x: Tensor, gradient: Tensor, over: NormAxis, mode: Renormalise): Tensor {
  if (mode === 'off') return gradient;
  const by = walk(x, over);
  const squares = innerProducts(x.data, x.data, by);
  const along = mode === 'full' ? innerProducts(gradient.data, x.data, by) : new Float64Array(by.vectors);
  const out = new Float32Array(x.data.length);
  pullVectors(out, x.data, gradient.data, by, squares, along);
  return { shape: x.shape, data: out };
}

/**
 * out = (g − (along/square)·x)/√square per vector, in float64; `factor`, where given, multiplies each vector's result.
 * x is Float32Array or the float64 directions of a parametrisation.
 */
export function pullVectors(
  out: Float32Array,
  x: Float32Array | Float64Array,
  gradient: Float32Array,
  by: ReturnType<typeof walk>,
  squares: Float64Array,
  along: Float64Array,
  factor?: Float64Array,
): void {
  const first = new Float64Array(by.vectors);
  const second = new Float64Array(by.vectors);
  for (let v = 0; v < by.vectors; v++) {
    const length = Math.sqrt(squares[v]!);
    if (length < CANCELLED) continue;
    first[v] = (factor?.[v] ?? 1) / length;
    second[v] = (first[v]! * along[v]!) / squares[v]!;
  }
  for (let r = 0, i = 0; r < by.rows; r++) {
    for (let c = 0, v = r * by.perRow; c < by.columns; c++, i++, v += by.perColumn) {
      out[i] = first[v]! * gradient[i]! - second[v]! * x[i]!;
    }
  }
}
