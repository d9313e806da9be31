import { each, sum } from '../../src/federation/combine.ts';
import { keyOfA, keyOfB, type Adapter, type LoraLayout } from '../../src/lora/adapter.ts';
import { stackAdapter } from '../../src/lora/mix.ts';
import type { MethodContext, Stage } from '../../src/methods/stage.ts';
import type { State } from '../../src/tensor/state.ts';
import type { Tensor, Tensors } from '../../src/tensor/tensor.ts';
import { add } from '../../src/tensor/tensors.ts';
import type { ClientKit } from '../../src/train/kit.ts';
import { stepsOf, type TrainSettings } from '../../src/train/settings.ts';
import { matrix } from '../toy-adapter.ts';
import { collect } from './collect.ts';
import { deltaOf } from './delta.ts';

export const plainTraining: TrainSettings = {
  batchSize: 1,
  accumulate: 1,
  length: { steps: 1 },
  rate: 1e-2,
  schedule: 'constant',
  warmup: 0,
  weightDecay: 0,
  clip: 0,
  keepBest: undefined,
};

export const contextOf = (layout: LoraLayout, more: Partial<MethodContext> = {}): MethodContext => ({
  layout,
  rounds: 1,
  fraction: 1,
  train: plainTraining,
  ...more,
});

interface KitOptions {
  readonly client?: string;
  readonly round?: number;
  /** Rounds in all; default: this is the last. */
  readonly rounds?: number;
  readonly examples?: number;
  /** Labelled tokens; default: as many as examples. */
  readonly tokens?: number;
}

const identity = ({
  client = 'c',
  round = 0,
  rounds = round + 1,
  examples = 1,
  tokens = examples,
}: KitOptions): Omit<ClientKit, 'train' | 'gradient'> => ({
  // Every prompt looks the same here.
  represent: async ({ prompts }) => ({ shape: [prompts, 1], data: new Float32Array(prompts).fill(1) }),
  client,
  round,
  overall: { round, rounds },
  examples,
  labelledTokens: tokens,
  signal: new AbortController().signal,
});

/** A client whose every training ends at these factors, as far as it trains them. */
export function endingAt(factors: Tensors, options: KitOptions = {}): ClientKit {
  return {
    ...identity(options),
    // oxlint-disable-next-line require-yield
    async *train({ from, parametrisation }) {
      const params = new Map(
        [...parametrisation.at(from).init].map(([key, start]) => [key, factors.get(key) ?? start] as const),
      );
      return { params, adapter: from, optimizerState: null, steps: 1, loss: 0, tokens: 1 };
    },
    gradient: () => {
      throw new Error('this client computes no gradient');
    },
  };
}

/** A client whose gradient with respect to what the graph is fed is this function of it: training as the trainer does it. */
export function exactKit(gradientAt: (factors: Tensors) => Tensors, options: KitOptions = {}): ClientKit {
  return {
    ...identity(options),
    // oxlint-disable-next-line require-yield
    async *train({ from, parametrisation, optimizer, length, batchSize, correct, afterStep, ...request }) {
      const point = parametrisation.at(from);
      const steps = stepsOf(length, options.examples ?? 1, { batchSize, accumulate: 1 });
      let params = request.params ?? point.init;
      let state = request.optimizerState ?? optimizer.init(params);
      for (let step = 0; step < steps; step++) {
        const own = point.pullback(gradientAt(point.toFactors(params)), params);
        const [updates, next] = optimizer.update(correct ? correct(own, params) : own, state, params, step);
        state = next;
        params = add(params, updates);
        if (afterStep) params = afterStep(params, step);
      }
      return { params, adapter: from, optimizerState: state, steps, loss: 0, tokens: 1 };
    },
    // oxlint-disable-next-line require-yield
    async *gradient({ from, parametrisation, params }) {
      const point = parametrisation.at(from);
      return { gradients: point.pullback(gradientAt(point.toFactors(params)), params), loss: 0, tokens: 1 };
    },
  };
}

export interface Member {
  readonly kit: ClientKit;
  readonly mine?: State;
}

export interface RoundResult {
  readonly shared: State;
  /** By client. */
  readonly mine: ReadonlyMap<string, State>;
  readonly updates: ReadonlyMap<string, Tensors>;
}

/** One round of a stage, as the round engine runs it, without a journal. Members in sorted order of their clients. */
export async function oneRound(
  stage: Stage,
  shared: State,
  members: readonly Member[],
  round = 0,
): Promise<RoundResult> {
  const combiner = stage.combine === 'each' ? each() : sum();
  const mine = new Map<string, State>();
  const updates = new Map<string, Tensors>();
  for (const member of members) {
    const { client } = member.kit;
    const received = new Map([...(stage.frozen?.(shared, round) ?? []), ...stage.broadcast(shared, client, round)]);
    const { result } = await collect(stage.work(received, member.mine, member.kit));
    mine.set(client, result.mine);
    updates.set(client, result.update);
    combiner.add({ client, update: result.update, weight: result.weight });
  }
  return {
    shared: stage.combine === 'none' ? shared : stage.apply(shared, combiner.finish()!.combined, round),
    mine,
    updates,
  };
}

/** Where a stage begins with these factors. */
export const begin = (stage: Stage, adapter: Adapter, clients: readonly string[] = [], previous?: State): State =>
  stage.start({ adapter, before: undefined, clients, ...(previous !== undefined && { previous }) });

/** ΔW of one module of a stage's global model, or of a client's. */
export const productOf = (stage: Stage, shared: State, module = 'm0', mine?: State): Tensor =>
  deltaOf(stackAdapter(stage.models(shared, mine)), module);

type Rows = readonly (readonly number[])[];
/** The factors of a one-module layout `m0`. */
export const pair = (a: Rows, b: Rows): Tensors =>
  new Map([
    [keyOfA('m0'), matrix(a)],
    [keyOfB('m0'), matrix(b)],
  ]);
