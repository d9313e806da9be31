import type { State } from '../tensor/state.ts';
import type { Optimizer } from './optimizer.ts';

/** One optimizer of several: each takes the updates of the one before it for its gradients (optax.chain). */
export function chain(...parts: readonly Optimizer[]): Optimizer<readonly State[]> {
  return {
    init: (params) => parts.map((part) => part.init(params)),
    update(gradients, state, params, step) {
      if (state.length !== parts.length) {
        throw new Error(`the state is of a chain of ${state.length} optimizers, not of ${parts.length}`);
      }
      let updates = gradients;
      const next = parts.map((part, i) => {
        const [passed, after] = part.update(updates, state[i]!, params, step);
        updates = passed;
        return after;
      });
      return [updates, next];
    },
  };
}
