import type { Accountant } from './accountant/noise.ts';
import type { Spending } from './accountant/spending.ts';
import type { AdaptiveClip } from './adaptive-clip.ts';
import type { Normal } from './gaussian.ts';

/**
 * What acts on the updates of clients, as plain data. They act in this order, whatever order they are listed in: compression and
 * then clipping at the client, noise at the server on the sum, or at the clients in it. Any other order would let a client weigh more than the bound.
 */
export interface Guards {
  readonly compress?: Compression;
  readonly clip?: Clip;
  readonly privacy?: Privacy;
}

export type Compression =
  | { readonly use: 'int8' }
  /** The share of the numbers that is sent; what is not waits at the client for its next round. */
  | { readonly use: 'top-k'; readonly share: number };

export type Clip =
  | { readonly use: 'clip'; readonly norm: number }
  /** The bound begins at `initial`. `countNoise`: standard deviation of the noise on the count of unclipped updates, where there is privacy. */
  | ({ readonly use: 'adaptive-clip'; readonly initial: number; readonly countNoise?: number } & AdaptiveClip);

/** Client-level differential privacy: ε at δ of adding or removing one client, whatever it holds. */
export interface Privacy {
  /** z: what the noise costs, as the standard deviation of noise on the sum over the clipping bound. */
  readonly noise: number;
  readonly delta: number;
  readonly accountant: Accountant;
}

/** Where a stage stands in its run: what its guards depend on beside the stage itself. */
export interface GuardedAt {
  readonly seed: number;
  /** Of the method's stages, from 0. */
  readonly stageIndex: number;
  /** Any client's name: a stage that adds updates up sends the same shapes to all. */
  readonly client: string;
  /** The chance of each client to be in a round; 1 where all are. */
  readonly rate: number;
  /** Expected participants of a round, fixed beforehand: rate·clients, and one more where the server's own rows take part. */
  readonly expected: number;
  /** What the method's stages before this one cost. */
  readonly spent: readonly Spending[];
  /** Whether clients add the noise themselves, before a secure sum. */
  readonly distributed?: boolean;
  /** For tests: where noise comes from. Default: the system's cryptographic random numbers. */
  readonly normal?: Normal;
}
