import type { Tensor } from '../tensor/tensor.ts';
import { innerProducts, type NormAxis, walk } from './axis.ts';

/** Vectors shorter than this have no direction: they cancelled (METHOD.md, `cancelling`). */
const CANCELLED = 1e-12;

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
 * Per vector x with ‖x‖² = square and ⟨g, x⟩ = along: the factors of g and of x in (g − (along/square)·x)/‖x‖, times the
 * vector's magnitude where given; 0 and 0 where it cancelled.
 */
export function pullFactors(
  squares: Float64Array,
  along: Float64Array,
  magnitudes?: Float64Array,
): readonly [ofGradient: Float64Array, ofVector: Float64Array] {
  const [first, second] = [new Float64Array(squares.length), new Float64Array(squares.length)];
  for (let v = 0; v < squares.length; v++) {
    const square = squares[v]!;
    const length = Math.sqrt(square);
    if (length < CANCELLED) continue;
    const factor = magnitudes === undefined ? 1 / length : magnitudes[v]! / length;
    first[v] = factor;
    second[v] = (factor * along[v]!) / square;
  }
  return [first, second];
}
