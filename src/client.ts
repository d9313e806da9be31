import { join as joinEvents, type Joining, type JoinOptions } from './run/join.ts';

export { joinEvents, type Joining, type JoinOptions };
export type { JoinPlan } from './run/join-plan.ts';
export type { TakingPart } from './federation/http/client/take-part.ts';
export { Unreachable } from './federation/http/client/api.ts';
export { Interrupted, UserError } from './errors.ts';
export { leave, type Left, type LeaveOptions } from './run/leave.ts';

export interface Joined {
  /** `stopped`: the server gave the run up, `why` says for what reason; `dry run`: nothing was asked of the server but the run's description. */
  readonly how: 'finished' | 'stopped' | 'dry run';
  readonly why: string;
  /** The client's name at the server; absent after a dry run. */
  readonly client?: string;
  /** Folders of personal adapters that were written (PEFT), each once. */
  readonly adapters: readonly string[];
}

/**
 * `fedlora join` for other programs: takes part in a server's run with own data until it is over. `onEvent` is told of the plan,
 * each task and what became of it, as `joinEvents` yields them. The same call goes on after a kill. Throws UserError for what does
 * not fit, `Unreachable` where patience ends, and the reason of `signal` once it is aborted.
 *
 *     await join({ url: 'https://server.example:8470', data: 'rows.jsonl', token, out: 'mine', patience: 600 })
 */
export async function join(options: JoinOptions, onEvent?: (event: Joining) => void): Promise<Joined> {
  const events = joinEvents(options);
  const adapters = new Set<string>();
  let client: string | undefined;
  for (;;) {
    const next = await events.next();
    if (next.done) return { ...next.value, ...(client !== undefined && { client }), adapters: [...adapters] };
    if (next.value.kind === 'joined') ({ client } = next.value);
    if (next.value.kind === 'kept') adapters.add(next.value.folder);
    onEvent?.(next.value);
  }
}
