import type { Tensor, Tensors } from '../tensor/tensor.ts';
import { getTensor, mapTensors, requireSameShapes, zeros } from '../tensor/tensors.ts';
import { type Adapter, keyOfA, keyOfB, type LoraLayout } from './adapter.ts';
import { requireFactors, withMoved } from './check.ts';
import type { Parametrisation } from './parametrisation.ts';

/** The keys of the factors that move, in the layout's order. */
export const movedKeys = (layout: LoraLayout, moves: 'A' | 'B' | 'AB'): string[] =>
  layout.modules.flatMap(({ name }) => [
    ...(moves === 'B' ? [] : [keyOfA(name)]),
    ...(moves === 'A' ? [] : [keyOfB(name)]),
  ]);

/** One factor with a delta that moves it: what a parametrisation by deltas needs of it. */
export interface DeltaMap {
  /** Of the delta. */
  readonly shape: readonly number[];
  /** The factor at this delta. */
  factor(delta: Float32Array): Tensor;
  /** The gradient with respect to the delta, from that with respect to the factor. */
  pullback(gradient: Float32Array, delta: Float32Array): Float32Array;
}

/** A parametrisation whose params are deltas of one factor, keyed by its factor key; `fix` is called once per module. */
export function byDelta(moves: 'A' | 'B', fix: (factor: Tensor) => DeltaMap): Parametrisation {
  return {
    moves,
    at(adapter: Adapter) {
      requireFactors(adapter);
      const maps = new Map(movedKeys(adapter.layout, moves).map((key) => [key, fix(getTensor(adapter.factors, key))]));
      const init: Tensors = new Map([...maps].map(([key, { shape }]) => [key, zeros(shape)]));
      return {
        init,
        toFactors(params) {
          requireSameShapes(params, init, 'the params and the deltas they stand for');
          return withMoved(
            adapter,
            mapTensors(params, ({ data }, key) => maps.get(key)!.factor(data)),
          );
        },
        pullback(gradients, params) {
          requireSameShapes(params, init, 'the params and the deltas they stand for');
          return mapTensors(init, ({ shape }, key) => {
            const gradient = getTensor(gradients, key);
            const data = maps.get(key)!.pullback(gradient.data, getTensor(params, key).data);
            return { shape, data };
          });
        },
      };
    },
  };
}
