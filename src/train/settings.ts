/** The run's `train` section: what every method trains with unless its own options say otherwise. */
export interface TrainSettings {
  readonly batchSize: number;
  readonly accumulate: number;
  /** Local work per round: optimizer steps, or epochs. */
  readonly length: { readonly steps: number } | { readonly epochs: number };
  readonly rate: number;
  readonly schedule: 'constant' | 'linear' | 'cosine';
  /** Warm-up steps at the start of each round's schedule. */
  readonly warmup: number;
  readonly weightDecay: number;
  /** Largest global norm of a gradient; 0 for none. */
  readonly clip: number;
  readonly keepBest: { readonly every: number } | undefined;
}
