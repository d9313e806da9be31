import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import type { RunConfig } from '../config/schema.ts';
import type { TokenRow } from '../data/types.ts';
import type { Place } from '../federation/events.ts';
import type { Journal } from '../federation/journal.ts';
import type { Participant, Task } from '../federation/participant.ts';
import { workingHere } from '../federation/process/participant.ts';
import type { Contribution } from '../methods/stage.ts';
import type { State } from '../tensor/state.ts';
import type { Tensors } from '../tensor/tensor.ts';
import type { Progress } from '../train/kit.ts';

/** What the thread begins with. */
export interface ServerRowsParts {
  readonly config: RunConfig;
  /** Of the base model. */
  readonly folder: string;
  /** Names of the clients, sorted. */
  readonly clients: readonly string[];
  readonly rows: readonly TokenRow[];
}

export type ToThread =
  | {
      readonly kind: 'train';
      readonly id: number;
      readonly place: Place;
      readonly round: number;
      readonly draw: number;
      readonly received: Tensors;
      readonly mine: State | undefined;
    }
  | { readonly kind: 'stop'; readonly id: number }
  | { readonly kind: 'close' };

export type FromThread =
  | { readonly kind: 'ready' }
  | { readonly kind: 'progress'; readonly id: number; readonly progress: Progress }
  | {
      readonly kind: 'done';
      readonly id: number;
      readonly update: Tensors;
      readonly weight: number;
      readonly mine: State;
    }
  | { readonly kind: 'failed'; readonly id: number; readonly message: string };

/** Seconds that the thread has for the step under way when the server ends. */
const PATIENCE = 30;

/**
 * A participant that trains on the server's own rows in a thread of this process, so that clients are answered meanwhile: the kit,
 * seeds, stages and guards of a simulation, so its bits. Ready on return; throws where the model cannot be opened.
 * A thread that ends by itself fails its task, and the next task begins another.
 */
export async function serverRowsParticipant(
  parts: ServerRowsParts,
  journal: Pick<Journal, 'privateState' | 'keep'>,
): Promise<{ readonly participant: Participant; close(): Promise<void> }> {
  let thread: Promise<Worker> | undefined;
  let ids = 0;
  const open = (): Promise<Worker> => (thread ??= started(parts, () => (thread = undefined)));
  await open();
  return {
    participant: workingHere(journal, async (task, mine, signal) => work(await open(), ids++, task, mine, signal)),
    async close() {
      const worker = await thread?.catch(() => undefined);
      if (worker === undefined) return;
      const ended = once(worker, 'exit');
      tell(worker, { kind: 'close' });
      const late = setTimeout(() => void worker.terminate(), PATIENCE * 1000);
      await ended.finally(() => clearTimeout(late));
    },
  };
}

const tell = (worker: Worker, message: ToThread): void => worker.postMessage(message, []);

/** The server's own participant does its tasks, the clients theirs. */
export const beside = (server: Participant, clients: Participant): Participant => ({
  perform: (task, signal) => (task.server === true ? server : clients).perform(task, signal),
});

async function started(parts: ServerRowsParts, over: () => void): Promise<Worker> {
  const worker = new Worker(fileURLToPath(new URL('./server-rows-thread.js', import.meta.url)), { workerData: parts });
  worker.once('exit', over);
  const ended = once(worker, 'exit').then(([code]) => {
    throw new Error(`the thread that trains on the server’s own rows ended before it began (exit code ${code})`);
  });
  // Rejects where the thread cannot begin.
  await Promise.race([once(worker, 'message'), ended]);
  // A task under way hears of its end; without one nobody has to.
  worker.on('error', () => undefined);
  return worker;
}

/** A task's work in the thread, as it goes on. */
async function* work(
  worker: Worker,
  id: number,
  { method, stage, stageIndex, round, draw, received }: Task,
  mine: State | undefined,
  signal: AbortSignal,
): AsyncGenerator<Progress, Contribution<State>> {
  const heard: FromThread[] = [];
  let lost: Error | undefined;
  let ring = (): void => undefined;
  const hear = (message: FromThread): void => {
    if (message.kind === 'ready' || message.id !== id) return;
    heard.push(message);
    ring();
  };
  const failed = (error: Error): void => {
    lost ??= error;
    ring();
  };
  const ended = (code: number): void =>
    failed(new Error(`the thread that trains on the server’s own rows ended by itself (exit code ${code})`));
  const stop = (): void => {
    tell(worker, { kind: 'stop', id });
    failed(signal.reason as Error);
  };
  worker.on('message', hear).once('error', failed).once('exit', ended);
  signal.addEventListener('abort', stop);
  try {
    signal.throwIfAborted();
    const place = { method, stage, stageIndex };
    tell(worker, { kind: 'train', id, place, round, draw, received, mine });
    for (;;) {
      const message = heard.shift();
      if (message === undefined) {
        if (lost !== undefined) throw lost;
        await new Promise<void>((done) => (ring = done));
        continue;
      }
      if (message.kind === 'progress') yield message.progress;
      if (message.kind === 'failed') throw new Error(message.message);
      if (message.kind === 'done') return { update: message.update, weight: message.weight, mine: message.mine };
    }
  } finally {
    signal.removeEventListener('abort', stop);
    worker.off('message', hear).off('error', failed).off('exit', ended);
  }
}
