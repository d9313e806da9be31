import { UserError } from '../errors.ts';
import type { ClientState, LostState } from '../federation/http/client/state.ts';
import type { Worker } from '../federation/http/client/take-part.ts';
import type { Self } from '../federation/http/protocol.ts';
import { samePlace, type Place } from '../federation/events.ts';
import type { Adapter } from '../lora/adapter.ts';
import { isNothing } from '../tensor/state.ts';
import { idleKit } from '../train/idle-kit.ts';
import { firstRounds, type FirstRound } from './first-rounds.ts';
import type { LaidOut } from './methods.ts';

export type { LostState };

/** What a client's folder lacks of what it kept for itself in rounds that the server has its updates of, newly since it was last asked. */
export async function lostStates(
  methods: readonly LaidOut[],
  begun: Adapter,
  { client, received }: Pick<Self, 'client' | 'received'>,
  state: Pick<ClientState, 'knows' | 'without'>,
): Promise<readonly LostState[]> {
  const missing = received.filter((at) => !state.knows(at, at.round) && withoutIt(state, at) < at.round);
  if (missing.length === 0) return [];
  const lost: LostState[] = [];
  for (const { method, stage, task } of firstRounds(methods, begun, client)) {
    const stageIndex = method.stages.indexOf(stage);
    const at = missing.find((one) => one.method === method.label && one.stageIndex === stageIndex);
    // Clients keep there what follows from what they have sent, and the server what follows from the same.
    const needed = stage.guards === 'none' || stage.exactSums === true;
    if (at !== undefined && task !== undefined && (await keepsState(task, at.round))) lost.push({ ...at, needed });
  }
  return lost;
}

/** The last round of a stage whose private state the client goes on without; −1 where there is none. */
const withoutIt = (state: Pick<ClientState, 'without'>, at: Place): number =>
  state.without().find((one) => samePlace(one, at))?.round ?? -1;

/**
 * Whether a stage's tasks up to this round leave their client something for itself, by doing the first and the last without training:
 * in FedDPA's there is nothing of one's own yet in the first.
 */
async function keepsState(
  { work, client, received }: NonNullable<FirstRound<unknown>['task']>,
  last: number,
): Promise<boolean> {
  for (const round of new Set([0, last])) {
    const idle = work(received, undefined, idleKit(client, round));
    let next = await idle.next();
    while (!next.done) next = await idle.next();
    if (!isNothing(next.value.mine)) return true;
  }
  return false;
}

const named = ({ method, stage }: Place): string => `${method} · ${stage}`;

/** What going on without it means, in words. */
export const goingOn = ({ needed, ...at }: LostState): string =>
  needed
    ? `in ${named(at)} this client takes part no more: what the server has follows from what is lost`
    : `in ${named(at)} it goes on as one who has not taken part before`;

/** Notes that the client goes on without these; throws UserError, saying what is lost and what can be done, unless `startAgain`. */
export function requireStates(
  lost: readonly LostState[],
  state: Pick<ClientState, 'without' | 'goWithout'>,
  { client, out, startAgain }: { readonly client: string; readonly out: string; readonly startAgain: boolean },
): void {
  if (lost.length === 0) return;
  const rounds = lost.map((at) => `${named(at)} (up to round ${at.round + 1})`).join(', ');
  if (!startAgain)
    throw new UserError(
      `the server has updates of ${client} in ${rounds}, and what this client kept for itself there is not in ${out}: it is another folder, an earlier copy, or not whole. Give the folder from then as --out (with a new token where its key is not valid any more), or go on without with --start-again: ${lost.map(goingOn).join('; ')}`,
    );
  state.goWithout([...state.without().filter((one) => !lost.some((at) => samePlace(one, at))), ...lost]);
}

/** A worker that refuses the stages in which the client cannot take part without what it has lost. */
export const without = (worker: Worker, lost: readonly LostState[]): Worker => ({
  ...worker,
  train(task, ...rest) {
    const at = lost.find((one) => one.needed && samePlace(one, task.place));
    if (at !== undefined)
      throw new Error(`its private state of round ${at.round + 1} is lost, and this stage needs it`);
    return worker.train(task, ...rest);
  },
});
