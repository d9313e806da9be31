import type { Adapter } from '../lora/adapter.ts';
import type { Parametrisation } from '../lora/parametrisation.ts';
import type { Optimizer } from '../optim/optimizer.ts';
import type { State } from '../tensor/state.ts';
import type { Tensor, Tensors } from '../tensor/tensor.ts';

/** One optimizer step or gradient, as it happens. */
export interface Progress {
  readonly step: number;
  readonly steps: number;
  /** Token-mean loss of this step's batch, nats. */
  readonly loss: number;
  /** Labelled tokens of this step's batch. */
  readonly tokens: number;
  /** All tokens (without padding) through forward and backward. */
  readonly processed: number;
}

/** What to train, from where, and how. */
export interface TrainRequest {
  readonly from: Adapter;
  readonly parametrisation: Parametrisation;
  /** Where to start, if not at the adapter itself. */
  readonly params?: Tensors;
  readonly optimizer: Optimizer;
  /** Goes on with this optimizer state; a fresh one if absent. */
  readonly optimizerState?: State;
  /** Optimizer steps, or whole passes over the client's training rows. */
  readonly length: { readonly steps: number } | { readonly epochs: number };
  /** Rows per micro-batch and micro-batches per optimizer step. */
  readonly batchSize: number;
  readonly accumulate?: number;
  /** Adds to the gradient of params before the optimizer sees it: penalties, proximal terms, control variates. */
  readonly correct?: (gradients: Tensors, params: Tensors) => Tensors;
  /** Adjusts params after each step, e.g. a proximal operator. */
  readonly afterStep?: (params: Tensors, step: number) => Tensors;
  /** Keeps the params with the lowest validation loss, evaluated every so many steps and at the end. */
  readonly keepBest?: { readonly every: number };
}

/** Where a training ended, and what it cost. Params are of the request's parametrisation; `adapter` is what they make. */
export interface TrainResult {
  readonly params: Tensors;
  readonly adapter: Adapter;
  readonly optimizerState: State;
  readonly steps: number;
  /** Mean training loss over the labelled tokens seen. */
  readonly loss: number;
  /** Labelled tokens through forward and backward: the unit of work. */
  readonly tokens: number;
}

/** Which gradient: with respect to the params of a parametrisation around `from`. */
export interface GradientRequest {
  readonly from: Adapter;
  readonly parametrisation: Parametrisation;
  readonly params: Tensors;
  /** `all`: every training row, as the exact token-mean over the client's data; a number: that many rows, drawn for this round. */
  readonly rows: number | 'all';
  /** Rows through the engine at a time; memory only, never the result beyond rounding. */
  readonly batchSize: number;
}

/** The gradient of the token-mean loss (nats) over the labelled tokens that it is of. */
export interface GradientResult {
  readonly gradients: Tensors;
  readonly loss: number;
  readonly tokens: number;
}

/** Of which prompts representations are wanted, under which adapter. */
export interface RepresentRequest {
  readonly from: Adapter;
  /** How many of the training rows' prompts; all where there are fewer. */
  readonly prompts: number;
}

/** What a client can do with its own data. Random draws depend only on run seed, client, stage and round. */
export interface ClientKit {
  readonly client: string;
  /** The server's own rows do this work: nobody will ask for a personal model of them. */
  readonly server?: true;
  /** Round within the stage, from 0. */
  readonly round: number;
  /** The same round and its number of rounds, counted over all the method's stages of this name: what a rate that falls over rounds goes by. */
  readonly overall: { readonly round: number; readonly rounds: number };
  /** n_k: training examples. */
  readonly examples: number;
  /** N_k: labelled tokens of the training rows. */
  readonly labelledTokens: number;
  readonly signal: AbortSignal;
  train(request: TrainRequest): AsyncGenerator<Progress, TrainResult>;
  gradient(request: GradientRequest): AsyncGenerator<Progress, GradientResult>;
  /** Last hidden states at the ends of some of its prompts, [prompts, hidden]. */
  represent(request: RepresentRequest): Promise<Tensor>;
}
