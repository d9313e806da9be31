import { UserError } from '../../errors.ts';
import type { Tensors } from '../../tensor/tensor.ts';
import { allFinite, requireSameShapes } from '../../tensor/tensors.ts';

/** Throws where there are no updates, they do not fit each other, or one holds NaN or infinity: no rule survives those. */
export function requireUpdates(updates: readonly Tensors[]): void {
  const [first] = updates;
  if (first === undefined) throw new Error('there are no updates to combine');
  for (const [i, update] of updates.entries()) {
    requireSameShapes(first, update, `updates 1 and ${i + 1}`);
    const bad = allFinite(update);
    if (bad !== undefined) throw new Error(`tensor "${bad}" of update ${i + 1} holds NaN or infinity`);
  }
}

/** Throws UserError where `bad`, the number of clients that may send anything, is no whole number of at least 0. */
export function requireBad(bad: number): void {
  if (!(Number.isSafeInteger(bad) && bad >= 0)) {
    throw new UserError(`the number of bad clients to withstand must be a whole number of at least 0, not ${bad}`);
  }
}

/** Throws UserError where a rule's promise does not hold for so few updates; `least` is how many it takes, as in `2f + 3`. */
export function requireEnough(rule: string, count: number, bad: number, least: { factor: number; more: number }): void {
  const needed = least.factor * bad + least.more;
  if (count >= needed) return;
  throw new UserError(
    `${rule} withstands ${bad} bad client(s) among at least ${least.factor}·${bad} + ${least.more} = ${needed} updates, and there are ${count}: have more clients in a round, or assume fewer bad ones`,
  );
}
