import type { Example, TokenRow } from '../data/types.ts';

/** Greedy answers to some test rows, for exact match and ROUGE-L. */
export interface GenerateSettings {
  /** Test rows per client that are answered, drawn once per seed. */
  readonly rows: number;
  readonly maxNewTokens: number;
  /** Ids that end an answer, e.g. the end-of-turn token. */
  readonly stop: readonly number[];
  /** Token ids to text, without special tokens. */
  readonly decode: (ids: Int32Array) => string;
}

export interface EvaluationOptions {
  /** The run's seed: which rows are drawn where not all are used depends on it and on the client alone. */
  readonly seed: number;
  /** Rows through the engine at a time, or a bound on rows × longest row: memory and speed only, never the result beyond rounding. */
  readonly batchSize: number | { readonly tokens: number };
  /** At most so many test rows per client; all where absent. */
  readonly rows?: number;
  /** Further test rows, no client's, on which global models are scored. */
  readonly heldOut?: { readonly rows: readonly TokenRow[]; readonly examples: readonly Example[] };
  /** No generation where absent. */
  readonly generate?: GenerateSettings;
  /** Personal models also on everybody's rows (default true): the matrix and the pooled loss. Off, each is scored on its own rows only. */
  readonly matrix?: boolean;
  /** Aborts between two batches or answers, with the signal's reason. */
  readonly signal: AbortSignal;
}
