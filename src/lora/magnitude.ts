import type { Tensor } from '../tensor/tensor.ts';
import { type Axis, innerProducts, magnitudeShape, normAxis, type NormAxis, walk } from './axis.ts';
import { identified } from './identity.ts';
import { byDelta, type DeltaMap } from './moves.ts';
import type { Parametrisation } from './parametrisation.ts';

/** Trains ΔA_M in A = (A_M + ΔA_M)·A_D: A's directions and B stay. Params [1, in] (`column`) or [rank, 1] per module. */
export const magnitudeOfA = ({ axis }: { readonly axis: Axis }): Parametrisation => magnitude('A', axis);

/**
 * Trains ΔB_M in B = (B_M + ΔB_M)·B_D: B's directions and A stay. Params [1, rank] (`column`, `rank`) or [out, 1] (`row`)
 * per module. FedLoRA-Optimizer's local stage (METHOD.md, stage 2).
 */
export const magnitudeOfB = ({ axis }: { readonly axis: Axis }): Parametrisation => magnitude('B', axis);

function magnitude(factor: 'A' | 'B', axis: Axis): Parametrisation {
  const parametrisation = byDelta(factor, (x) => magnitudeMap(x, normAxis(factor, axis)));
  return identified(parametrisation, 'magnitude', [], [factor, axis]);
}

/** Zero vectors have no direction: they stay zero, and their delta's gradient is 0. A delta of zero gives X back bit for bit. */
function magnitudeMap(x: Tensor, over: NormAxis): DeltaMap {
  const by = walk(x, over);
  const norms = innerProducts(x.data, x.data, by).map(Math.sqrt);
  const inverse = norms.map((length) => (length === 0 ? 0 : 1 / length));
  return {
    shape: magnitudeShape([by.rows, by.columns], over),
    factor(delta) {
      const factors = norms.map((magnitude, v) => (magnitude + delta[v]!) * inverse[v]!);
      const out = new Float32Array(x.data.length);
      for (let r = 0, i = 0; r < by.rows; r++) {
        for (let c = 0, v = r * by.perRow; c < by.columns; c++, i++, v += by.perColumn)
          out[i] = factors[v]! * x.data[i]!;
      }
      return { shape: x.shape, data: out };
    },
    pullback: (gradient) => Float32Array.from(innerProducts(gradient, x.data, by), (sum, v) => sum * inverse[v]!),
  };
}
