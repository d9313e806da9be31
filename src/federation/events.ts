import type { AdapterMix } from '../lora/adapter.ts';
import type { RoundPrivacy } from '../methods/stage.ts';
import type { State } from '../tensor/state.ts';
import type { Progress } from '../train/kit.ts';

/** How a round gathers its clients: a run's `rounds` section without the count. */
export interface RoundSettings {
  readonly sampling: 'all' | 'fixed' | 'poisson';
  /** Share of the clients in a round (`fixed`), or the probability of each (`poisson`). */
  readonly fraction: number;
  /** Seconds a client has for one task. */
  readonly deadline: number;
  /** Fewest updates of clients that a round needs; fewer stop the run. */
  readonly minimum: number;
  /** With `fixed`: how many times the clients that a round needs are drawn for it, 1 or more. */
  readonly overSampling?: number;
}

/** Where in a run something happens. */
export interface Place {
  /** The method's label. */
  readonly method: string;
  readonly stage: string;
  /** Of the method's stages, from 0. */
  readonly stageIndex: number;
}

export const samePlace = (a: Place, b: Place): boolean => a.method === b.method && a.stageIndex === b.stageIndex;

/** What one client did in one round, as journalled. Bytes are those of the tensors passed, 4 per number, or of their compressed form. */
export interface ClientRecord {
  readonly client: string;
  /** Labelled and all tokens through forward and backward. */
  readonly tokens: number;
  readonly processed: number;
  /** Token-mean training loss over the task, nats; null where it computed none. */
  readonly loss: number | null;
  readonly up: number;
  readonly down: number;
  /** Seconds of the client's own work. */
  readonly seconds: number;
  /** Why its update was not used; absent where it was. */
  readonly leftOut?: string;
}

/** One committed round, as journalled. */
export interface RoundRecord {
  readonly round: number;
  /** Whose updates were used, sorted: clients, and `proxy` or `pooled` where the server's own rows took part. */
  readonly participants: readonly string[];
  readonly leftOut: readonly { readonly client: string; readonly reason: string }[];
  /** Token-mean training loss over the participants, nats; null where no participant computed one. */
  readonly trainLoss: number | null;
  /** What `evaluateRound` gave. */
  readonly validationLoss?: number;
  /** Labelled and all tokens through forward and backward, of all clients of the round, left out or not. */
  readonly tokens: number;
  readonly processed: number;
  /** What the round cost, where its sum was shown with noise. */
  readonly privacy?: RoundPrivacy;
  /** Bytes of all clients together; per client in `StageResult.traffic`. */
  readonly up: number;
  readonly down: number;
  /** Wall clock of the round without its evaluation and commit, and how much of it was clients' own work. */
  readonly seconds: number;
  readonly clientSeconds: number;
  /** Bytes of resident memory that the engine's process had at most in those seconds, where it can tell. */
  readonly peakMemory?: number;
}

/** A finished stage. States are read from the journal when asked for, so that holding a result holds no tensors. */
export interface StageResult extends Place {
  readonly rounds: readonly RoundRecord[];
  /** Of clients; the server's own participant has none. */
  readonly traffic: ReadonlyMap<string, { readonly up: number; readonly down: number }>;
  readonly leftOut: readonly { readonly round: number; readonly client: string; readonly reason: string }[];
  readonly tokens: number;
  readonly processed: number;
  readonly seconds: number;
  readonly clientSeconds: number;
  /** The highest of its rounds', where all are known. */
  readonly peakMemory?: number;
  /** The server's state at the end of the stage. */
  readonly shared: State;
  readonly models: {
    readonly global: AdapterMix;
    /** With the client's private state as of this stage; undefined where it has none. */
    personal(client: string): AdapterMix | undefined;
  };
}

export interface MethodResult {
  readonly label: string;
  readonly stages: readonly StageResult[];
}

/** Measures the global model after a round, e.g. its loss on the pooled validation rows; undefined where it chooses not to. */
export type EvaluateRound = (
  global: AdapterMix,
  at: Place & { readonly round: number },
  signal: AbortSignal,
) => Promise<number | undefined>;

/** What a run yields as it happens. `round done` and `stage done` come after they are durable; `client done` too where nothing is combined. */
export type RunEvent =
  | (Place & {
      readonly kind: 'stage started';
      readonly rounds: number;
      /** Rounds that an earlier process had committed. */
      readonly resumedAt: number;
    })
  | (Place & {
      readonly kind: 'round started';
      readonly round: number;
      readonly clients: readonly string[];
      /** So many updates close the round, whoever is still at work; absent where everybody is waited for. */
      readonly enough?: number;
    })
  | (Place & {
      readonly kind: 'progress';
      readonly round: number;
      readonly client: string;
      readonly progress: Progress;
    })
  | (Place & { readonly kind: 'client done'; readonly round: number; readonly record: ClientRecord })
  | (Place & {
      readonly kind: 'client left out';
      readonly round: number;
      readonly client: string;
      readonly reason: string;
    })
  | (Place & {
      readonly kind: 'round done';
      readonly round: number;
      readonly record: RoundRecord;
      /** What writing the round took; not part of the record, which was written by it. */
      readonly commitSeconds: number;
    })
  | (Place & {
      readonly kind: 'stage done';
      readonly result: StageResult;
      /** True where an earlier process had already finished the stage. */
      readonly resumed: boolean;
    });
