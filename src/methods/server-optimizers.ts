import { z } from 'zod';
import { factors } from '../lora/factors.ts';
import type { State } from '../tensor/state.ts';
import type { Tensors } from '../tensor/tensor.ts';
import { addScaled, mapTensors, scale, zerosLike } from '../tensor/tensors.ts';
import { averageFactors, meanUpdate, type AveragedTraining } from './average-factors.ts';
import { federatedOptions, federatedRounds, serverOverRounds, serverShare, type ServerOverRounds } from './options.ts';
import type { PrivateState } from './private-state.ts';
import type { MethodContext, Stage } from './stage.ts';

/** A server's step on the clients' mean update Δ = Σ p_k θ_k − θ: what is added to θ, and the state after it. */
export interface ServerRule<S extends State = State> {
  init(factors: Tensors): S;
  step(delta: Tensors, state: S): readonly [move: Tensors, state: S];
}

/** Heavy ball as Flower has it: u ← β·u + (θ − mean), θ ← θ − rate·u. β = 0 and rate = 1 are FedAvg. */
export function momentumRule({ rate, momentum }: { rate: number; momentum: number }): ServerRule<Tensors> {
  return {
    init: zerosLike,
    step(delta, velocity) {
      // The velocity of Δ = −(θ − mean): the same ball with its sign turned.
      const next = addScaled(delta, velocity, momentum);
      return [scale(next, rate), next];
    },
  };
}

/** How v follows Δ²; `adagrad` sums, `adam` averages, `yogi` moves by no more than (1 − β2)·Δ² towards it. */
type Second = 'adagrad' | 'adam' | 'yogi';

/**
 * What is done about m and v starting at 0. With t the round, from 1: `none`; `folded`: rate·√(1 − β2ᵗ)/(1 − β1ᵗ)·m/(√v + τ);
 * `flower`: the same with t + 1, as Flower's FedAdam computes it; `pytorch`: both moments corrected, τ outside:
 * rate·m̂/(√v̂ + τ).
 */
export type BiasCorrection = 'none' | 'folded' | 'flower' | 'pytorch';

export interface Adaptive {
  readonly second: Second;
  readonly rate: number;
  readonly beta1: number;
  readonly beta2: number;
  readonly tau: number;
  readonly biasCorrection: BiasCorrection;
}

export type Moments = { readonly m: Tensors; readonly v: Tensors; readonly round: number };

/** θ ← θ + rate·m/(√v + τ) (Reddi et al. 2021, algorithm 2) with m ← β1·m + (1 − β1)·Δ; v starts at 0. */
export function adaptiveRule(options: Adaptive): ServerRule<Moments> {
  const { second, rate, beta1, beta2, tau, biasCorrection } = options;
  return {
    init: (factors) => ({ m: zerosLike(factors), v: zerosLike(factors), round: 0 }),
    step(delta, before) {
      const round = before.round + 1;
      const m = zip(before.m, delta, (mean, d) => beta1 * mean + (1 - beta1) * d);
      const v = zip(before.v, delta, (square, d) => secondMoment(second, square, d * d, beta2));
      const t = biasCorrection === 'flower' ? round + 1 : round;
      const first = biasCorrection === 'none' ? 1 : 1 - beta1 ** t;
      const root = biasCorrection === 'none' ? 1 : Math.sqrt(1 - beta2 ** t);
      // Where τ lies outside the correction, √v̂ + τ = (√v + τ·root)/root.
      const floor = biasCorrection === 'pytorch' ? tau * root : tau;
      const move = zip(m, v, (mean, square) => ((rate * root) / first) * (mean / (Math.sqrt(square) + floor)));
      return [move, { m, v, round }];
    },
  };
}

function secondMoment(second: Second, v: number, square: number, beta2: number): number {
  switch (second) {
    case 'adagrad':
      return v + square;
    case 'adam':
      return beta2 * v + (1 - beta2) * square;
    case 'yogi':
      return v - (1 - beta2) * square * Math.sign(v - square);
  }
}

const zip = (a: Tensors, b: Tensors, f: (x: number, y: number) => number): Tensors =>
  mapTensors(a, ({ shape, data }, name) => {
    const other = b.get(name)!.data;
    return { shape, data: data.map((x, i) => f(x, other[i]!)) };
  });

/** Rounds of federated averaging whose mean update goes through a server optimizer. */
function serverOptimized(
  options: AveragedTraining & { readonly overRounds?: ServerOverRounds },
  rule: ServerRule,
): Stage<{ readonly factors: Tensors; readonly server: State }, PrivateState> {
  const averaged = averageFactors(options);
  return {
    ...averaged,
    start: (from) => ({ factors: from.adapter.factors, server: rule.init(from.adapter.factors) }),
    frozen: () => new Map(),
    broadcast: ({ factors }) => factors,
    apply: ({ factors, server }, combined, round) => {
      const [move, next] = rule.step(meanUpdate(combined), server);
      // Every rule's move is in proportion to its rate.
      const share = serverShare(options.overRounds, round, options.rounds);
      return { factors: addScaled(factors, move, share), server: next };
    },
    models: ({ factors }) => averaged.models(factors),
  };
}

/** What a method with a server optimizer is laid out as. */
export const serverStages = (
  rule: ServerRule,
  options: Pick<AveragedTraining, 'weights' | 'optimizerState'> & {
    readonly rounds?: number | undefined;
    readonly overRounds?: ServerOverRounds;
  },
  context: MethodContext,
): Stage[] => [serverOptimized({ ...federatedRounds(options, context), parametrisation: factors() }, rule)];

/** The options of every method with a server optimizer. @param initial its default rate */
export const serverOptions = (initial: number) => ({
  ...federatedOptions,
  rate: positive(initial, 'server learning rate η'),
  overRounds: serverOverRounds,
});

export const fraction = (initial: number, what: string) => z.number().min(0).lt(1).default(initial).describe(what);
const positive = (initial: number, what: string) => z.number().positive().default(initial).describe(what);

/** β1, β2 and τ of the adaptive ones. */
export const adaptiveOptions = {
  beta1: fraction(0.9, 'β1'),
  beta2: fraction(0.99, 'β2'),
  tau: positive(1e-3, 'τ, added to √v: the larger, the less adaptive'),
};

/** Where the defaults of Adagrad, Adam and Yogi come from. */
export const flowersDefaults = 'η, β, τ and v = 0 at the start are Flower’s defaults, to be tuned on validation.';
