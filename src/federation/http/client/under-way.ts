import type { Totals } from '../protocol.ts';
import { Refusal } from '../refusal.ts';
import type { Api } from './api.ts';
import type { TakePart } from './take-part.ts';

/** A refusal is an outcome: this work will not be counted. */
export async function asked(ask: () => ReturnType<Api['outcome']>): ReturnType<Api['outcome']> {
  try {
    return await ask();
  } catch (error) {
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

/** Errors that no other task will be spared. */
export const isOwn = (error: unknown): boolean =>
  error instanceof Error && ['Unreachable', 'JournalFailure', 'Fatal'].includes(error.name);
