import { createHash } from 'node:crypto';
import { readTensors } from '../../../formats/files/safetensors.ts';
import { stateChunks } from '../../../tensor/encode.ts';
import type { Tensors } from '../../../tensor/tensor.ts';
import { getTensor, shapesOf, type Shapes } from '../../../tensor/tensors.ts';
import { idleKit } from '../../../train/idle-kit.ts';
import type { Progress } from '../../../train/kit.ts';
import { samePlace } from '../../events.ts';
import { Fatal } from '../../fatal.ts';
import type { Participant, Task } from '../../participant.ts';
import { payloadChunks, unpacked } from '../payload.ts';
import { updateSchema, type BlobRef, type Totals } from '../protocol.ts';
import type { Blobs } from './blobs.ts';
import type { Desk } from './desk.ts';

/** A task's name: what it is, for whom, and the very tensors it starts from. The same after a restart. */
export function taskId(run: string, ...parts: readonly (string | number)[]): string {
  return createHash('sha256')
    .update(JSON.stringify([run, ...parts]))
    .digest('hex')
    .slice(0, 32);
}

function stateDigest(tensors: Tensors): string {
  const hash = createHash('sha256');
  for (const chunk of stateChunks(tensors)) hash.update(chunk);
  return hash.digest('hex');
}

/**
 * Participants at the other end of a connection: a task is laid on the desk, and its update is read back from what the client
 * has uploaded, which was checked and made durable before it was acknowledged.
 */
export function remoteParticipant(parts: {
  readonly run: string;
  readonly desk: Desk;
  readonly blobs: Blobs;
  /** Is told of the training of each client that keeps its update for a secure sum. */
  readonly trained?: Map<string, string>;
}): Participant {
  const { run, desk, blobs, trained } = parts;
  const piecesOf = frozenPieces(blobs);
  const digestOf = lastOf(stateDigest);
  const kept = lastOf((own: Tensors) => blobs.put(() => payloadChunks(own)));
  // Held once more for each task.
  const put = async (own: Tensors, task: Task): Promise<BlobRef> => {
    const { value, again } = kept(own, task);
    return again ? blobs.put(() => payloadChunks(own), await value) : value;
  };
  return {
    async *perform(task, signal) {
      const { method, stage, stageIndex, round, draw, client } = task;
      const place = { method, stage, stageIndex };
      const frozen = await ownDisk(piecesOf(task));
      const own = new Map([...task.received].filter(([name]) => !task.frozen.has(name)));
      const sent = own.size > 0 ? await ownDisk(put(own, task)) : null;
      try {
        const id = taskId(run, 'train', method, stageIndex, round, client, digestOf(task.received, task).value);
        const expected = await expectedUpdate(task);
        const began = performance.now();
        if (task.kept === true) trained?.set(client, id);
        const offer = {
          message: { kind: 'train', id, place, round, draw, frozen, sent } as const,
          client,
          place,
          round,
          blobs: sent === null ? frozen : [...frozen, sent],
          expected,
          sent: own,
          ...(task.packing && { packing: task.packing }),
          ...(task.kept && { kept: task.kept }),
        };
        let offered = desk.offer(offer, signal);
        let seen = nothing;
        for (;;) {
          const next = await offered.next();
          const message = next.done ? updateSchema.parse(next.value.result) : undefined;
          const totals = message?.totals ?? (next.value as Totals);
          const progress = between(seen, totals);
          seen = totals;
          if (progress !== undefined) yield progress;
          if (!next.done || message === undefined) continue;
          // It is here for good, and whatever is left to do takes no time of the client's.
          yield 'arrived';
          const { digest } = next.value;
          // How long it worked is its own affair.
          if (message.weight === null)
            return { update: new Map(), weight: 0, seconds: (performance.now() - began) / 1000 };
          if (digest !== undefined && !(await ownDisk(blobs.intact(digest)))) {
            // The client has it still, and is asked for it once more; at once, or it would hear that it came too late.
            await blobs.release(digest);
            yield 'awaited';
            desk.forget(id);
            offered = desk.offer(offer, signal);
            continue;
          }
          await task.turn?.();
          const update: Tensors =
            digest === undefined
              ? new Map()
              : task.packing === undefined
                ? await ownDisk(readTensors(blobs.path(digest)))
                : unpacked(await ownDisk(blobs.read(digest)), `the update of ${client}`, expected, task.packing);
          return { update: inOrder(update, expected), weight: message.weight, seconds: message.seconds };
        }
      } finally {
        if (sent !== null) await blobs.release(sent.digest);
      }
    },
  };
}

/** What the server cannot write or read is no client's failure, and none is left out for it or told of the server's paths. */
export async function ownDisk<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    throw new Fatal(error instanceof Error ? error.message : String(error), { cause: error });
  }
}

/** Makes something of tensors, once for a round's clients who are sent the very same ones. */
function lastOf<T>(make: (tensors: Tensors) => T) {
  let last: { readonly tensors: Tensors; readonly task: Task; readonly value: T } | undefined;
  return (tensors: Tensors, task: Task): { readonly value: T; readonly again: boolean } => {
    const again = last !== undefined && sameRound(last.task, task) && sameTensors(last.tensors, tensors);
    if (last === undefined || !again) last = { tensors, task, value: make(tensors) };
    return { value: last.value, again };
  };
}

const sameRound = (a: Task, b: Task): boolean => samePlace(a, b) && a.round === b.round;

/** The same objects in the same order. */
function sameTensors(a: Tensors, b: Tensors): boolean {
  const others = b.entries();
  return (
    a.size === b.size &&
    [...a].every(([name, tensor]) => {
      const [other, theirs] = others.next().value!;
      return name === other && tensor === theirs;
    })
  );
}

/** Sums over tensors depend on their order, so it is this side's. */
const inOrder = (update: Tensors, like: Shapes): Tensors =>
  new Map([...like.keys()].map((name) => [name, getTensor(update, name)]));

const nothing: Totals = { step: 0, steps: 0, tokens: 0, processed: 0, lossSum: 0 };

/** What was done between two reports; undefined where nothing was. */
function between(before: Totals, after: Totals): Progress | undefined {
  const tokens = after.tokens - before.tokens;
  const processed = after.processed - before.processed;
  if (tokens <= 0 && processed <= 0) return undefined;
  const loss = tokens > 0 ? (after.lossSum - before.lossSum) / tokens : 0;
  return { step: after.step, steps: after.steps, loss, tokens, processed };
}

/**
 * What never changes, in pieces as they came to be: a client keeps the pieces that it has. A server that was started anew makes
 * one piece of all there is by then.
 */
function frozenPieces(blobs: Blobs): (task: Task) => Promise<BlobRef[]> {
  const stages = new Map<string, { readonly names: Set<string>; readonly pieces: BlobRef[] }>();
  let last: Promise<unknown> = Promise.resolve();
  const next = async ({ method, stageIndex, frozen }: Task): Promise<BlobRef[]> => {
    const key = JSON.stringify([method, stageIndex]);
    const known = stages.get(key) ?? { names: new Set<string>(), pieces: [] };
    stages.set(key, known);
    const fresh = new Map([...frozen].filter(([name]) => !known.names.has(name)));
    if (fresh.size > 0) {
      known.pieces.push(await blobs.put(() => payloadChunks(fresh)));
      for (const name of fresh.keys()) known.names.add(name);
    }
    return [...known.pieces];
  };
  // One after the other: tasks of a round begin together and have the same new tensors.
  return (task) => {
    const result = last.then(() => next(task));
    last = result.catch(() => undefined);
    return result;
  };
}

/** Names and shapes of a task's update, by doing its work without training; `asked` is told what would be trained. */
export async function expectedUpdate(
  task: Pick<Task, 'work' | 'received' | 'client' | 'round'>,
  asked?: Parameters<typeof idleKit>[2],
): Promise<Shapes> {
  const work = task.work(task.received, undefined, idleKit(task.client, task.round, asked));
  for (;;) {
    const next = await work.next();
    if (next.done) return shapesOf(next.value.update);
  }
}
