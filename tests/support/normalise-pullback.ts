import { innerProducts, type NormAxis, type Renormalise, walk } from '../../src/lora/axis.ts';
import { pullFactors } from '../../src/lora/normalise.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';

/**
 * The gradient with respect to x of a loss whose gradient with respect to n(x) is `gradient`, vector by vector:
 * (g − (⟨g, x⟩/‖x‖²)·x)/‖x‖ in full, g/‖x‖ detached, g where n is off. Vectors that cancelled get 0. (METHOD.md; DoRA §4.3)
 */
export function normalisePullback(x: Tensor, gradient: Tensor, over: NormAxis, mode: Renormalise): Tensor {
  if (mode === 'off') return gradient;
  const by = walk(x, over);
  const squares = innerProducts(x.data, x.data, by);
  const along = mode === 'full' ? innerProducts(gradient.data, x.data, by) : new Float64Array(by.vectors);
  const [first, second] = pullFactors(squares, along);
  const out = new Float32Array(x.data.length);
  for (let r = 0, i = 0; r < by.rows; r++) {
    for (let c = 0, v = r * by.perRow; c < by.columns; c++, i++, v += by.perColumn) {
      out[i] = first[v]! * gradient.data[i]! - second[v]! * x.data[i]!;
    }
  }
  return { shape: x.shape, data: out };
}
