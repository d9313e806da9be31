import type { Tensor, Tensors } from '../tensor/tensor.ts';
import { getTensor } from '../tensor/tensors.ts';
import { type AdapterMix, keyOfA, type LoraLayout } from './adapter.ts';
import { stack, stackAdapter } from './mix.ts';
import type { Parametrisation } from './parametrisation.ts';

/**
 * Trains what `inner` trains while a fixed mix of adapters stands beside it: the graph is fed both, stacked in rank, and the
 * gradient of the fixed part is left aside. The trained adapter's own product counts `weight` times.
 */
export function beside(inner: Parametrisation, mix: AdapterMix, weight = 1): Parametrisation {
  if (mix.length === 0 && weight === 1) return inner;
  return {
    moves: inner.moves,
    at(adapter) {
      const point = inner.at(adapter);
      const { layout } = adapter;
      const fixed = mix.length > 0 ? [{ adapter: stackAdapter(mix), weight: 1 }] : [];
      return {
        init: point.init,
        toFactors: (params) => stack([{ adapter: { layout, factors: point.toFactors(params) }, weight }, ...fixed]),
        pullback(gradients, params) {
          return point.pullback(ownGradients(layout, gradients, point.toFactors(params), weight), params);
        },
      };
    },
  };
}

/** Of the gradients of a stack, those of the factors `own` that come first in it, with their weight. Others are left aside. */
export function ownGradients(layout: LoraLayout, gradients: Tensors, own: Tensors, weight = 1): Tensors {
  const isA = new Set(layout.modules.map(({ name }) => keyOfA(name)));
  // Stacking folds the weight into B; A enters as it is.
  const sliced = [...gradients]
    .filter(([key]) => own.has(key))
    .map(([key, gradient]): [string, Tensor] => {
      const { shape } = getTensor(own, key);
      return [key, isA.has(key) ? firstRows(gradient, shape) : firstColumns(gradient, shape, weight)];
    });
  return new Map(sliced);
}

function firstRows({ data }: Tensor, shape: readonly number[]): Tensor {
  return { shape, data: data.subarray(0, shape[0]! * shape[1]!) };
}

function firstColumns({ shape: [, width], data }: Tensor, shape: readonly number[], factor: number): Tensor {
  const [rows, columns] = shape as [number, number];
  const out = new Float32Array(rows * columns);
  for (let r = 0; r < rows; r++) {
    for (let c = 0; c < columns; c++) out[r * columns + c] = factor * data[r * width! + c]!;
  }
  return { shape, data: out };
}
