import { setMaxListeners } from 'node:events';
import type { Tensors } from '../tensor/tensor.ts';
import { byteSize } from '../tensor/tensors.ts';
import { Fatal } from './fatal.ts';
import { atServer, roundsNamed } from './federation.ts';
import { merge } from './merge.ts';
import type { Round } from './round.ts';
import { performTask, type TaskStep } from './task.ts';

/** A step of one client's task, and what the client was sent. */
export interface Sent {
  readonly client: string;
  readonly step: TaskStep;
  readonly sent: Tensors;
  readonly down: number;
}

/** The tasks of all clients, as they go on, and the bytes that each asked one was sent; what a client is sent is made when its task begins. */
export async function* steps(
  run: Round,
  clients: readonly string[],
  kept: boolean,
  asked: Map<string, number>,
  turn?: (client: string) => Promise<void>,
): AsyncGenerator<Sent, void> {
  // Ends the tasks under way, at their next step, whichever way the round is left.
  const over = new AbortController();
  const signal = AbortSignal.any([run.signal, over.signal]);
  // Every task under way listens, however many there are.
  setMaxListeners(0, signal);
  try {
    yield* merge(tasks(run, clients, kept, signal, asked, turn), run.concurrency ?? 1);
  } finally {
    over.abort();
  }
}

function* tasks(
  run: Round,
  clients: readonly string[],
  kept: boolean,
  signal: AbortSignal,
  asked: Map<string, number>,
  turn: ((client: string) => Promise<void>) | undefined,
): Generator<AsyncGenerator<Sent, void>> {
  for (const client of clients) yield task(run, client, kept, signal, asked, turn);
}

async function* task(
  run: Round,
  client: string,
  kept: boolean,
  signal: AbortSignal,
  asked: Map<string, number>,
  turn: ((client: string) => Promise<void>) | undefined,
): AsyncGenerator<Sent, void> {
  const { stage, at, round, draw, frozen, provided, participant, rounds } = run;
  const server = client === atServer(run, stage);
  const sent = stage.broadcast(run.shared, client, round);
  const has = provided.get(client);
  const fresh = new Map([...frozen].filter(([name]) => !has?.has(name)));
  const down = byteSize(sent) + byteSize(fresh);
  asked.set(client, down);
  provided.set(client, frozen);
  const received = new Map([...frozen, ...sent]);
  if (received.size < frozen.size + sent.size) {
    throw new Fatal(`stage “${at.stage}” of ${at.method} broadcasts a tensor under the name of a frozen one`);
  }
  const work = {
    ...at,
    round,
    draw,
    rounds: roundsNamed(run.stages, stage.name),
    client,
    received,
    frozen,
    work: stage.work.bind(stage),
    ...(stage.packing && { packing: stage.packing }),
    ...(server && { server }),
    ...(kept && { kept }),
    ...(turn && { turn: () => turn(client) }),
  };
  for await (const step of performTask(participant, work, rounds.deadline, signal)) yield { client, step, sent, down };
}
