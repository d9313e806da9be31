import type { Tensor } from '../tensor/tensor.ts';
import { type Axis, innerProducts, normAxis, type NormAxis, type Renormalise, walk } from './axis.ts';
import { byDelta, type DeltaMap } from './moves.ts';
import { CANCELLED, pullVectors } from './normalise.ts';
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

const direction = (factor: 'A' | 'B', { axis, renormalise = 'full' }: DirectionOptions): Parametrisation =>
  byDelta(factor, (x) => directionMap(x, normAxis(factor, axis), renormalise));

/**
 * The split is kept in float64 (the norms, and D computed from X), so that a delta of zero gives X back bit for bit.
 * Zero vectors have magnitude 0 and stay zero.
 */
function directionMap(x: Tensor, over: NormAxis, mode: Renormalise): DeltaMap {
  const by = walk(x, over);
  const norms = innerProducts(x.data, x.data, by).map(Math.sqrt);
  const inverse = norms.map((length) => (length === 0 ? 0 : 1 / length));

  /** D + ΔD, in float64. */
  function moved(delta: Float32Array): Float64Array {
    const out = new Float64Array(delta.length);
    for (let r = 0, i = 0; r < by.rows; r++) {
      for (let c = 0, v = r * by.perRow; c < by.columns; c++, i++, v += by.perColumn) {
        out[i] = x.data[i]! * inverse[v]! + delta[i]!;
      }
    }
    return out;
  }

  return {
    shape: x.shape,
    factor(delta) {
      const d = moved(delta);
      const squares = mode === 'off' ? undefined : innerProducts(d, d, by);
      const factors = norms.map((magnitude, v) => {
        if (squares === undefined) return magnitude;
        const length = Math.sqrt(squares[v]!);
        return length < CANCELLED ? 0 : magnitude / length;
      });
      const out = new Float32Array(d.length);
      for (let r = 0, i = 0; r < by.rows; r++) {
        for (let c = 0, v = r * by.perRow; c < by.columns; c++, i++, v += by.perColumn) out[i] = factors[v]! * d[i]!;
      }
      return { shape: x.shape, data: out };
    },
    pullback(gradient, delta) {
      const d = moved(delta);
      const off = mode === 'off';
      const squares = off ? new Float64Array(by.vectors).fill(1) : innerProducts(d, d, by);
      const along = mode === 'full' ? innerProducts(gradient, d, by) : new Float64Array(by.vectors);
      const out = new Float32Array(d.length);
      pullVectors(out, d, gradient, by, squares, along, norms);
      return out;
    },
  };
}
