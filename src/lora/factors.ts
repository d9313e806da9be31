import type { Tensor, Tensors } from '../tensor/tensor.ts';
import { getTensor, requireSameShapes } from '../tensor/tensors.ts';
import type { Adapter } from './adapter.ts';
import { requireFactors, withMoved } from './check.ts';
import { identified } from './identity.ts';
import { movedKeys } from './moves.ts';
import type { Parametrisation } from './parametrisation.ts';

/** Trains A and B as they are: the params are the factors themselves. */
export const factors = (): Parametrisation => plain('AB');

/** Trains A alone; B is passed through, the same tensors. */
export const onlyA = (): Parametrisation => plain('A');

/** Trains B alone (FFA-LoRA); A is passed through, the same tensors. */
export const onlyB = (): Parametrisation => plain('B');

function plain(moves: 'A' | 'B' | 'AB'): Parametrisation {
  const parametrisation: Parametrisation = {
    moves,
    at(adapter: Adapter) {
      requireFactors(adapter);
      const keys = movedKeys(adapter.layout, moves);
      const init: Tensors = new Map(keys.map((key) => [key, getTensor(adapter.factors, key)]));
      return {
        init,
        toFactors(params) {
          requireSameShapes(params, init, 'the params and the factors they stand for');
          return withMoved(adapter, params);
        },
        pullback: (gradients) => new Map(keys.map((key): [string, Tensor] => [key, getTensor(gradients, key)])),
      };
    },
  };
  return identified(parametrisation, 'factors', [], moves);
}
