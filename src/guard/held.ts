import { isNothing, type State } from '../tensor/state.ts';
import type { Tensors } from '../tensor/tensor.ts';

/** A client's private state where compression holds something back: the method's own (absent: none), and what is held by stage. */
export type WithHeld = { readonly own?: State; readonly held: { readonly [stage: string]: Tensors } };

/** The method's own part of such a state; undefined where it left nothing. */
export const ownOf = (mine: State | undefined): State | undefined => (mine as WithHeld | undefined)?.own;

/** What was held back of these tensors in earlier rounds of the stage: not of those that an alternating stage sends at other times. */
export function heldFor(mine: State | undefined, stage: string, update: Tensors): Tensors | undefined {
  const held = (mine as WithHeld | undefined)?.held[stage];
  const entries = [...update.keys()].flatMap((name) => {
    const tensor = held?.get(name);
    return tensor === undefined ? [] : [[name, tensor] as const];
  });
  return entries.length === 0 ? undefined : new Map(entries);
}

/** The state after a task: the method's own new one, and what is now held back. */
export function withHeld(before: State | undefined, own: State, stage: string, error?: Tensors): WithHeld {
  const held = (before as WithHeld | undefined)?.held ?? {};
  return {
    ...(!isNothing(own) && { own }),
    held: error === undefined ? held : { ...held, [stage]: new Map([...(held[stage] ?? []), ...error]) },
  };
}
