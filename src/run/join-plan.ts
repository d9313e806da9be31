import { labelledTokens } from '../data/batches.ts';
import type { LoadedData } from '../data/load.ts';
import { payloadLimit } from '../federation/http/payload.ts';
import type { DataCounts } from '../federation/http/protocol.ts';
import { expectedUpdate } from '../federation/http/server/participant.ts';
import type { Adapter } from '../lora/adapter.ts';
import { sizeOf } from '../tensor/tensors.ts';
import type { LaidOut } from './methods.ts';

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
    /** Numbers and bytes that leave this machine in each round; 0: nothing is sent. */
    readonly numbers: number;
    readonly bytes: number;
  }[];
  /** Whether updates, their weights and training losses leave this machine in sums under masks only. */
  readonly secure: boolean;
  /** Whether nothing leaves but updates: no count, loss or score (the guard `privacy`). */
  readonly silent: boolean;
  readonly resumed: boolean;
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

/** What each stage sends, by doing its work without training. */
export async function stagesOf(
  methods: readonly LaidOut[],
  initial: Adapter,
  data: LoadedData,
): Promise<JoinPlan['stages']> {
  const client = data.clients[0]!;
  const plans: JoinPlan['stages'][number][] = [];
  for (const { label, stages, options } of methods) {
    // A method's options may name other clients.
    const clients = [...new Set([client.id, ...Object.keys((options['ranks'] as object | undefined) ?? {})])];
    let adapter = initial;
    for (const stage of stages) {
      const shared = stage.start({ adapter, before: undefined, clients });
      const received = new Map([...(stage.frozen?.(shared, 0) ?? []), ...stage.broadcast(shared, client.id, 0)]);
      const update = await expectedUpdate({ work: stage.work.bind(stage), received, client: client.id, round: 0 });
      plans.push({
        method: label,
        stage: stage.name,
        rounds: stage.rounds,
        numbers: [...update.values()].reduce((sum, { shape }) => sum + sizeOf(shape), 0),
        bytes: update.size > 0 ? payloadLimit(update, stage.packing) : 0,
      });
      adapter = stage.models(shared)[0]!.adapter;
    }
  }
  return plans;
}
