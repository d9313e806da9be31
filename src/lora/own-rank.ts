import { identity, times, timesTransposed, transposedTimes } from '../tensor/matrices.ts';
import type { Tensor, Tensors } from '../tensor/tensor.ts';
import { add, getTensor, requireSameShapes, zeros } from '../tensor/tensors.ts';
import { keyOfA, keyOfB, type LoraLayout } from './adapter.ts';
import { requireFactors, withMoved } from './check.ts';
import type { Parametrisation } from './parametrisation.ts';
import { factorsAtRank, layoutAtRank } from './ranks.ts';

/** Of a client of rank r among others of rank R: M [R, r], by which its own A [r, in] becomes one of rank R. */
export const keyOfMix = (module: string): string => `${module}.mix`;
/** What it adds to the shared B [out, R]: B_2 [out, r] and B_1 [r, R]. */
export const keyOfB2 = (module: string): string => `${module}.lora_B2`;
export const keyOfB1 = (module: string): string => `${module}.lora_B1`;

/** Where a client of rank r begins: the first r rows of A, and an M that puts them where they were. @param layout of rank R */
export function ownPart(layout: LoraLayout, factors: Tensors, rank: number): Tensors {
  const own = layoutAtRank(layout, rank);
  const first = factorsAtRank(own, factors);
  return new Map(
    layout.modules.flatMap(({ name, rank: whole }, i) => [
      [keyOfA(name), getTensor(first, keyOfA(name))] as const,
      [keyOfMix(name), identity(whole, own.modules[i]!.rank)] as const,
    ]),
  );
}

/** A = M·A_k [R, in] of every module. */
export const mixedA = ({ modules }: LoraLayout, own: Tensors): Tensors =>
  new Map(
    modules.map(({ name }) => [keyOfA(name), times(getTensor(own, keyOfMix(name)), getTensor(own, keyOfA(name)))]),
  );

/** What is added to B: B_2·B_1 [out, R] of every module. */
export const addedToB = ({ modules }: LoraLayout, params: Tensors): Tensors =>
  new Map(
    modules.map(({ name }) => [
      keyOfB(name),
      times(getTensor(params, keyOfB2(name)), getTensor(params, keyOfB1(name))),
    ]),
  );

/**
 * ΔW = scale·(B_0 + B_2·B_1)·(M·A_k): a client of rank r within an adapter of rank R. B_0 is the adapter's B, which stays; A_k, M,
 * B_2 and B_1 are trained, from `own` (A_k and M), B_2 = 0 and B_1 = [I 0]. The adapter's A has to be M·A_k.
 */
export function ownRank(own: Tensors): Parametrisation {
  return {
    moves: 'AB',
    at(adapter) {
      requireFactors(adapter);
      const { layout, factors } = adapter;
      const init = new Map(own);
      for (const { name, rank, outFeatures } of layout.modules) {
        const r = getTensor(own, keyOfA(name)).shape[0]!;
        init.set(keyOfB2(name), zeros([outFeatures, r]));
        init.set(keyOfB1(name), identity(r, rank));
      }
      return {
        init,
        toFactors(params) {
          requireSameShapes(params, init, 'the params and the client’s own part');
          const shared = new Map(layout.modules.map(({ name }) => [keyOfB(name), getTensor(factors, keyOfB(name))]));
          return withMoved(adapter, new Map([...mixedA(layout, params), ...add(shared, addedToB(layout, params))]));
        },
        pullback(gradients, params) {
          const back = new Map<string, Tensor>();
          for (const { name } of layout.modules) {
            const [ofA, ofB] = [getTensor(gradients, keyOfA(name)), getTensor(gradients, keyOfB(name))];
            back.set(keyOfA(name), transposedTimes(getTensor(params, keyOfMix(name)), ofA));
            back.set(keyOfMix(name), timesTransposed(ofA, getTensor(params, keyOfA(name))));
            back.set(keyOfB2(name), timesTransposed(ofB, getTensor(params, keyOfB1(name))));
            back.set(keyOfB1(name), transposedTimes(getTensor(params, keyOfB2(name)), ofB));
          }
          return back;
        },
      };
    },
  };
}
