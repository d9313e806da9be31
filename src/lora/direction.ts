import type { Tensor } from '../tensor/tensor.ts';
import { type Axis, innerProducts, normAxis, type NormAxis, type Renormalise, type Walk, walk } from './axis.ts';
import { identified } from './identity.ts';
import { byDelta, type DeltaMap } from './moves.ts';
import { pullFactors } from './normalise.ts';
import type { Parametrisation } from './parametrisation.ts';

export interface DirectionOptions {
  readonly axis: Axis;
  /** Default `full`. */
  readonly renormalise?: Renormalise;
}

/**
 * Trains ΔA_D in A = A_M·n(A_D + ΔA_D): A's magnitudes and B stay. Params are ΔA_D, of A's shapes.
 * FedLoRA-Optimizer's global stage (METHOD.md, stage 1).
 */
export const directionOfA = (options: DirectionOptions): Parametrisation => direction('A', options);

/** Trains ΔB_D in B = B_M·n(B_D + ΔB_D): B's magnitudes and A stay. Params are ΔB_D, of B's shapes. */
export const directionOfB = (options: DirectionOptions): Parametrisation => direction('B', options);

function direction(factor: 'A' | 'B', { axis, renormalise = 'full' }: DirectionOptions): Parametrisation {
  const parametrisation = byDelta(factor, (x) => directionMap(x, normAxis(factor, axis), renormalise));
  return identified(parametrisation, 'direction', [], [factor, axis, renormalise]);
}

/**
 * The split is kept in float64 (the norms, and D computed from X), so that a delta of zero gives X back bit for bit.
 * Zero vectors have magnitude 0 and stay zero.
 */
function directionMap(x: Tensor, over: NormAxis, mode: Renormalise): DeltaMap {
  const by = walk(x, over);
  const norms = innerProducts(x.data, x.data, by).map(Math.sqrt);
  const split: Split = { x: x.data, inverse: norms.map((length) => (length === 0 ? 0 : 1 / length)), by };
  const none = new Float64Array(by.vectors);
  return {
    shape: x.shape,
    factor(delta) {
      const lengths = mode === 'off' ? norms : pullFactors(products(split, delta, delta).squares, none, norms)[0];
      return { shape: x.shape, data: combine(split, delta, lengths, delta, none) };
    },
    pullback(gradient, delta) {
      if (mode === 'off') return combine(split, delta, none, gradient, norms);
      const { squares, along } = products(split, delta, gradient);
      const [first, second] = pullFactors(squares, mode === 'full' ? along : none, norms);
      for (let v = 0; v < second.length; v++) second[v] = -second[v]!;
      return combine(split, delta, second, gradient, first);
    },
  };
}

/** X, and one over each of its vectors' norms: D = X·inverse. */
interface Split {
  readonly x: Float32Array;
  readonly inverse: Float64Array;
  readonly by: Walk;
}

/** Of each vector d of D + ΔD: ‖d‖² and ⟨gradient, d⟩. */
function products(
  { x, inverse, by: { rows, columns, perRow, perColumn, vectors } }: Split,
  delta: Float32Array,
  gradient: Float32Array,
): { squares: Float64Array; along: Float64Array } {
  const squares = new Float64Array(vectors);
  const along = new Float64Array(vectors);
  for (let r = 0, i = 0; r < rows; r++) {
    for (let c = 0, v = r * perRow; c < columns; c++, i++, v += perColumn) {
      const d = x[i]! * inverse[v]! + delta[i]!;
      squares[v] = squares[v]! + d * d;
      along[v] = along[v]! + gradient[i]! * d;
    }
  }
  return { squares, along };
}

/** (D + ΔD)·ofDirection + gradient·ofGradient, with a factor for each vector. */
function combine(
  { x, inverse, by: { rows, columns, perRow, perColumn } }: Split,
  delta: Float32Array,
  ofDirection: Float64Array,
  gradient: Float32Array,
  ofGradient: Float64Array,
): Float32Array {
  const out = new Float32Array(x.length);
  for (let r = 0, i = 0; r < rows; r++) {
    for (let c = 0, v = r * perRow; c < columns; c++, i++, v += perColumn) {
      out[i] = ofGradient[v]! * gradient[i]! + ofDirection[v]! * (x[i]! * inverse[v]! + delta[i]!);
    }
  }
  return out;
}
