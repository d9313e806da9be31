import type { MethodSummary, Summary } from '../report/summary.ts';

/** What a sweep found, as `results.json` holds it: everything that statistics and the sweep's report are made of. */
export interface SweepResults {
  /** The label of the arm that the others are compared with. */
  readonly baseline: string;
  /** The replicates, in the order of the sweep's file. Equal within a seed: first adapter, split, order of batches. */
  readonly seeds: readonly number[];
  readonly arms: readonly SweepArm[];
  /** One per arm and seed that is done. */
  readonly cells: readonly SweepCell[];
}

/** An arm: a method with its options, and what its tuning tried. */
export interface SweepArm {
  /** Unique in the sweep. */
  readonly label: string;
  readonly use: string;
  /** The method's options as resolved, with the chosen values of those that were tuned. */
  readonly options: Readonly<Record<string, unknown>>;
  /** Keys of the run in which the arm differs from the base, with chosen values; absent where there are none. */
  readonly run?: Readonly<Record<string, unknown>>;
  /** Every value that was tried, in order; empty where nothing was tuned. */
  readonly tried: readonly Tried[];
}

/** One try of an arm's tuning: the tuned keys with their values, and what decided. */
export interface Tried {
  readonly options: Readonly<Record<string, unknown>>;
  /** Mean over seeds and clients of the loss on validation rows, nats per labelled token; null where a run failed. */
  readonly validationLoss: number | null;
  /** Why its first failed run did: it diverged, or a round had too few updates. Such values are not chosen. */
  readonly failed?: string;
  readonly seeds: readonly number[];
}

/** What one arm came to under one seed. */
export interface SweepCell {
  readonly arm: string;
  readonly seed: number;
  readonly method: MethodSummary;
  /** The base model on the same test rows. */
  readonly base: Summary['base'];
  /** The global model's loss on the pooled validation rows after each round in which it was evaluated; rounds count over all stages, from 1. */
  readonly curve: readonly { readonly round: number; readonly stage: string; readonly loss: number }[];
  /** Of the arm alone: shared parts count as if they had been computed for it. */
  readonly seconds: number;
}
