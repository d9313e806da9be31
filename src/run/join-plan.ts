import type { RunConfig } from '../config/schema.ts';
import { labelledTokens } from '../data/batches.ts';
import type { LoadedData } from '../data/load.ts';
import { minimumOf } from '../data/partition.ts';
import { proxyShared, serverSide } from '../federation/federation.ts';
import { payloadLimit } from '../federation/http/payload.ts';
import type { DataCounts } from '../federation/http/protocol.ts';
import { expectedUpdate } from '../federation/http/server/participant.ts';
import type { Adapter } from '../lora/adapter.ts';
import { sizeOf } from '../tensor/tensors.ts';
import type { Stage } from '../methods/stage.ts';
import { firstRounds, taskOf } from './first-rounds.ts';
import type { Disk } from './join-disk.ts';
import type { LaidOut } from './methods.ts';
import type { OpenModel } from './subject.ts';

const parts = ['train', 'validation', 'test'] as const;

/** What will be trained, on what, and what leaves this machine: told before anything does. */
export interface JoinPlan {
  readonly kind: 'plan';
  readonly run: string;
  readonly model: { readonly name: string; readonly parameters: number; readonly trainable: number };
  readonly data: DataCounts & {
    readonly rows: number;
    readonly truncated: number;
    readonly dropped: Readonly<Record<string, number>>;
  };
  readonly stages: readonly {
    readonly method: string;
    readonly stage: string;
    readonly rounds: number;
    /** Numbers trained in a round, and on how many rows, at most. */
    readonly trained: number;
    readonly rows: number | 'all';
    /** Numbers and bytes that leave this machine in a round, at most; 0: nothing is sent. */
    readonly numbers: number;
    readonly bytes: number;
  }[];
  /** What the server does on rows of its own; undefined where it has none. */
  readonly serverRows?: {
    /** Stages that are for those rows alone. */
    readonly alone: readonly { readonly method: string; readonly stage: string; readonly rounds: number }[];
    /** Whether they are one more participant of other stages. */
    readonly beside: boolean;
    /** Its key in secure sums, where it is in any: counted among those that hide nothing from the server. */
    readonly identity?: string;
  };
  /** The fewest rows with which one can take part, and the parts of them of which none may be empty. */
  readonly needed: { readonly rows: number; readonly parts: readonly (typeof parts)[number][] };
  /** Whether updates, their weights and training losses leave this machine in sums under masks only. */
  readonly secure: boolean;
  /** Whether nothing leaves but updates: no count, loss or score (the guard `privacy`). */
  readonly silent: boolean;
  /** Bytes of memory that it takes about, at least: this process as it is, the weights, and what training keeps of each number. */
  readonly memory: number;
  /** Bytes of disk for what the server sends and finished updates, in a first round and at most: a task that takes more is refused. */
  readonly disk: Disk;
  readonly resumed: boolean;
}

/** Copies of each trained number in a task: received, trained, its gradient, the optimizer's two moments. */
const COPIES = 5;

/** What a task takes of memory at least, bytes: activations come on top, and grow with batch and length. */
export function memoryOf(model: Pick<OpenModel, 'store'>, trainable: number): number {
  const weights = [...model.store.tensors.values()].reduce((sum, { length }) => sum + length, 0);
  return process.memoryUsage.rss() + weights + COPIES * 4 * trainable;
}

export function countsOf({ clients: [own] }: LoadedData): DataCounts {
  const { train, validation, test } = own!;
  return {
    train: train.length,
    validation: validation.length,
    test: test.length,
    labelledTokens: train.reduce((sum, row) => sum + labelledTokens(row), 0),
  };
}

/** How many rows a run asks of each client, as the split and `clients.minimum` have it. */
export function neededOf(clients: RunConfig['clients']): JoinPlan['needed'] {
  const filled = parts.filter((part) => part === 'train' || clients.split[part] !== 0);
  return { rows: Math.max(minimumOf(clients), filled.length), parts: filled };
}

/** Which stages are of the server's own rows, alone or beside the clients'. */
export function serverRowsOf(methods: readonly LaidOut[]): Omit<NonNullable<JoinPlan['serverRows']>, 'identity'> {
  return {
    alone: methods.flatMap(({ label, stages }) =>
      stages
        .filter((stage) => serverSide(stage) !== undefined)
        .map(({ name, rounds }) => ({ method: label, stage: name, rounds })),
    ),
    beside: methods.some(({ stages }) => proxyShared(stages, true) && stages.some(({ combine }) => combine !== 'none')),
  };
}

/** What each stage trains and sends at most, by doing the work of two rounds without training: later ones are like the second. */
export async function stagesOf(
  methods: readonly LaidOut[],
  initial: Adapter,
  data: LoadedData,
): Promise<JoinPlan['stages']> {
  const plans: JoinPlan['stages'][number][] = [];
  const { id } = data.clients[0]!;
  for (const { method, stage, shared, task: first } of firstRounds(methods, initial, id)) {
    if (first === undefined) continue;
    const second = stage.rounds > 1 ? taskOf(stage, shared, id, 1) : undefined;
    const works = [await workOf(first, stage), ...(second ? [await workOf(second, stage)] : [])];
    const most = (of: (work: Work) => number): number => Math.max(...works.map(of));
    const rows = most(({ rows }) => rows);
    plans.push({
      method: method.label,
      stage: stage.name,
      rounds: stage.rounds,
      trained: most(({ trained }) => trained),
      rows: rows === Infinity ? 'all' : rows,
      numbers: most(({ numbers }) => numbers),
      bytes: most(({ bytes }) => bytes),
    });
  }
  return plans;
}

interface Work {
  readonly trained: number;
  /** Infinity where it is all of them. */
  readonly rows: number;
  readonly numbers: number;
  readonly bytes: number;
}

async function workOf(task: Parameters<typeof expectedUpdate>[0], stage: Stage): Promise<Work> {
  let [trained, rows] = [0, 0];
  const update = await expectedUpdate(task, (numbers, asked) => {
    trained += numbers;
    rows += asked === 'all' ? Infinity : asked;
  });
  const numbers = [...update.values()].reduce((sum, { shape }) => sum + sizeOf(shape), 0);
  return { trained, rows, numbers, bytes: update.size > 0 ? payloadLimit(update, stage.packing) : 0 };
}
