import type { RunConfig } from '../config/schema.ts';
import type { Method } from '../methods/method.ts';
import { layOut } from '../run/methods.ts';
import { stageFamilies, startKey } from '../run/shelf.ts';
import { layoutOf, type OpenModel } from '../run/subject.ts';

/** The stages of a run that others may share: what names them, and their rounds. */
export type Shareable = readonly { readonly family: string; readonly rounds: number }[];

/** The stages of a run as far as they can be told apart from others before its data are read. Guards' are nobody else's (their noise is of one run). */
export function shareable(config: RunConfig, known: ReadonlyMap<string, Method>, model: OpenModel): Shareable {
  if ((config.guards ?? []).length > 0) return [];
  const { stages } = layOut(config, known, layoutOf(model, config.lora))[0]!;
  const identity = { model: JSON.stringify(config.model), data: JSON.stringify([config.data, config.clients]) };
  return stageFamilies(startKey({ config, identity }, stages), stages, config).map((family, i) => ({
    family,
    rounds: stages[i]!.rounds,
  }));
}

/** Whether one run can begin with what another computes with fewer rounds, and so should come after it. */
export const comesAfter = (one: Shareable, other: Shareable): boolean =>
  one.some(({ family, rounds }, i) => other[i]?.family === family && other[i].rounds < rounds);

/** Runs in their order, but each after those that it can begin with. */
export function ordered<T extends { readonly stages: Shareable }>(runs: readonly T[]): T[] {
  const waiting = [...runs];
  const inOrder: T[] = [];
  while (waiting.length > 0) {
    const next = waiting.findIndex((one) => !waiting.some((other) => comesAfter(one.stages, other.stages)));
    inOrder.push(...waiting.splice(next, 1));
  }
  return inOrder;
}
