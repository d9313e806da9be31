import type { Totals } from '../protocol.ts';
import { Refusal, TOO_EARLY } from '../refusal.ts';
import type { Api } from './api.ts';
import { LimitReached } from './limits.ts';
import type { TakePart } from './take-part.ts';

/** A refusal is an outcome: this work will not be counted. One that came too early is none: it is kept, as if it were received. */
export async function asked(ask: () => ReturnType<Api['outcome']>): ReturnType<Api['outcome']> {
  try {
    return await ask();
  } catch (error) {
    if (error instanceof Refusal && error.status === TOO_EARLY) return { outcome: 'received' };
    if (error instanceof Refusal && error.status >= 400 && error.status !== 401)
      return { outcome: 'refused', reason: error.message };
    throw error;
  }
}

/** Signs of life while a task is worked on, one at a time; aborts the work once the server does not want it any more. */
export function beating(
  { api, beat }: Pick<TakePart, 'api' | 'beat'>,
  id: string,
  totals: () => Totals,
  control: AbortController,
): { stop(): void } {
  let under = false;
  const timer = setInterval(() => {
    if (under) return;
    under = true;
    api
      .progress(id, totals())
      .catch((error: unknown) => {
        // Anything else passes, or stops the next request as well.
        if (error instanceof Refusal && error.status === 409) control.abort(error);
      })
      .finally(() => (under = false));
  }, beat * 1000);
  return { stop: () => clearInterval(timer) };
}

/** Seconds before a task that failed is begun again, the first time, at most. */
const AGAIN = 1;

/**
 * Pauses before a task that comes again, after it has failed here and the server has not counted it as failed: doubling each time, at
 * most `longest` seconds (a client that rests is silent), and at different times for different clients.
 */
export function rests(longest: number, random: () => number = Math.random) {
  const failures = new Map<string, number>();
  return {
    failed: (id: string): void => void failures.set(id, (failures.get(id) ?? 0) + 1),
    /** Seconds. Other tasks wait for nothing. */
    before(id: string): number {
      const times = failures.get(id) ?? 0;
      if (times === 0) failures.clear();
      return times === 0 ? 0 : Math.min(longest, AGAIN * 2 ** (times - 1)) * (0.5 + 0.5 * random());
    },
  };
}

/** Errors that no other task will be spared. */
export const isOwn = (error: unknown): boolean =>
  error instanceof Error && ['Unreachable', 'JournalFailure', 'Fatal'].includes(error.name);

/** What ended a task, whatever its work made of the signal. */
export const causeOf = (thrown: unknown, { signal }: AbortController): unknown =>
  signal.reason instanceof LimitReached ? signal.reason : thrown;

/** In place of a reason that may speak of the data. */
const UNTOLD = 'its work failed; why, it keeps to itself';

/** Tells the server that a task failed here, and why where that may be known. */
export async function tellFailure(
  { api, worker }: Pick<TakePart, 'api' | 'worker'>,
  id: string,
  reason: string,
): Promise<void> {
  await asked(() => api.fail(id, worker.silent === true ? UNTOLD : reason.slice(0, 1000)));
}
