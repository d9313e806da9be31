import { setTimeout as timer } from 'node:timers';
import { Interrupted } from '../errors.ts';
import type { Tensors } from '../tensor/tensor.ts';
import type { Progress } from '../train/kit.ts';
import { Fatal } from './fatal.ts';
import type { Arrival, Participant, Task, Update } from './participant.ts';

/** How a task ended. `failure` says why there is no update. */
export interface Outcome {
  readonly client: string;
  readonly update: Tensors | undefined;
  readonly weight: number;
  readonly failure: string | undefined;
  readonly tokens: number;
  readonly processed: number;
  /** Σ loss·tokens over the task's steps. */
  readonly lossSum: number;
  readonly seconds: number;
}

export type TaskStep =
  | { readonly client: string; readonly progress: Progress }
  | { readonly client: string; readonly outcome: Outcome };

/**
 * Lets a participant do a task and ends with its outcome, whatever happens: an error, or more than `deadline` seconds of
 * the participant's time, make it a failure, even if the work never listens to its signal.
 * Throws `Interrupted` once `signal` is aborted, and hands on `Fatal`.
 */
export async function* performTask(
  participant: Participant,
  task: Task,
  deadline: number,
  signal: AbortSignal,
): AsyncGenerator<TaskStep, void> {
  const { client } = task;
  const control = new AbortController();
  const work = participant.perform(task, control.signal);
  const done = { tokens: 0, processed: 0, lossSum: 0, seconds: 0 };
  const ended = (result: Update | undefined, failure?: string): TaskStep => ({
    client,
    outcome: {
      ...done,
      client,
      failure,
      update: result?.update,
      weight: result?.weight ?? 0,
      seconds: result?.seconds ?? done.seconds,
    },
  });
  let finished = false;
  let arrived = false;
  try {
    for (;;) {
      const from = performance.now();
      const next: IteratorResult<Progress | Arrival, Update> = await within(
        work.next(),
        arrived ? undefined : deadline - done.seconds,
        deadline,
        signal,
      );
      done.seconds += (performance.now() - from) / 1000;
      if (next.done) {
        finished = true;
        yield ended(next.value);
        return;
      }
      if (typeof next.value === 'string') {
        arrived = next.value === 'arrived';
        continue;
      }
      const { loss, tokens, processed, step } = next.value;
      if (!Number.isFinite(loss)) throw new Error(`the loss of step ${step} is ${loss}`);
      done.tokens += tokens;
      done.processed += processed;
      done.lossSum += loss * tokens;
      yield { client, progress: next.value };
    }
  } catch (error) {
    if (error instanceof Fatal || error instanceof Interrupted) throw error;
    if (signal.aborted) throw interrupted();
    // Before anybody is told: what comes from now on is late.
    control.abort(new Interrupted('the round no longer waits for this task'));
    yield ended(undefined, error instanceof Error ? error.message : String(error));
  } finally {
    if (!finished) control.abort(new Interrupted('the round no longer waits for this task'));
    // Not awaited: work that hangs would hang here too.
    work.return(undefined as never).catch(() => undefined);
  }
}

/** The promise's value; an error after so many seconds (undefined: however long it takes) or once the signal is aborted, without waiting for the promise. */
async function within<T>(
  promise: Promise<T>,
  seconds: number | undefined,
  deadline: number,
  signal: AbortSignal,
): Promise<T> {
  promise.catch(() => undefined);
  let clock: NodeJS.Timeout | undefined;
  let stop: (() => void) | undefined;
  try {
    return await Promise.race([
      promise,
      new Promise<never>((_, reject) => {
        stop = (): void => reject(interrupted());
        if (signal.aborted) stop();
        signal.addEventListener('abort', stop);
        const late = (): void => reject(new Error(`took longer than the deadline of ${deadline} s`));
        if (seconds !== undefined) clock = timer(late, Math.max(0, seconds) * 1000);
      }),
    ]);
  } finally {
    clearTimeout(clock);
    if (stop) signal.removeEventListener('abort', stop);
  }
}

export const interrupted = (): Interrupted => new Interrupted('stopped on request; the run can be resumed');
