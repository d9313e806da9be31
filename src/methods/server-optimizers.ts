import { z } from 'zod';
import { factors } from '../lora/factors.ts';
import type { State } from '../tensor/state.ts';
import type { Tensors } from '../tensor/tensor.ts';
import { addScaled, mapTensors, scale, zerosLike } from '../tensor/tensors.ts';
import { averageFactors, meanUpdate, type AveragedTraining } from './average-factors.ts';
import { averaging } from './capabilities.ts';
import { defineMethod, type Method } from './method.ts';
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

const stagesWith = (
  rule: ServerRule,
  options: Pick<AveragedTraining, 'weights' | 'optimizerState'> & {
    readonly rounds?: number | undefined;
    readonly overRounds?: ServerOverRounds;
  },
  context: MethodContext,
): Stage[] => [serverOptimized({ ...federatedRounds(options, context), parametrisation: factors() }, rule)];

const positive = (initial: number, what: string) => z.number().positive().default(initial).describe(what);
const fraction = (initial: number, what: string) => z.number().min(0).lt(1).default(initial).describe(what);
const tau = positive(1e-3, 'τ, added to √v: the larger, the less adaptive');
const defaults = 'η, β, τ and v = 0 at the start are Flower’s defaults, to be tuned on validation.';

/** FedAvgM (Hsu et al. 2019, arXiv 1909.06335). */
export const fedavgm: Method = defineMethod({
  name: 'fedavgm',
  summary: 'federated averaging with momentum at the server',
  source:
    'arXiv 1909.06335 in Flower’s form (heavy ball). The momentum of 0.9 is this project’s choice; Flower’s is 0.',
  capabilities: averaging,
  options: z.strictObject({
    ...federatedOptions,
    rate: positive(1, 'server learning rate'),
    overRounds: serverOverRounds,
    momentum: fraction(0.9, 'β; 0 with rate 1 is FedIT'),
  }),
  stages: (options, context) => stagesWith(momentumRule(options), options, context),
});

/** FedAdagrad (Reddi et al. 2021, arXiv 2003.00295), with β1 = 0. */
export const fedadagrad: Method = defineMethod({
  name: 'fedadagrad',
  summary: 'federated averaging with Adagrad at the server',
  source: `arXiv 2003.00295; β1 = 0 as in Flower. ${defaults}`,
  capabilities: averaging,
  options: z.strictObject({
    ...federatedOptions,
    rate: positive(0.1, 'server learning rate η'),
    overRounds: serverOverRounds,
    tau,
  }),
  stages: (options, context) =>
    stagesWith(
      adaptiveRule({ ...options, second: 'adagrad', beta1: 0, beta2: 0, biasCorrection: 'none' }),
      options,
      context,
    ),
});

/** FedAdam (Reddi et al. 2021). */
export const fedadam: Method = defineMethod({
  name: 'fedadam',
  summary: 'federated averaging with Adam at the server',
  source: `arXiv 2003.00295, which has no bias correction. ${defaults}`,
  capabilities: averaging,
  options: z.strictObject({
    ...federatedOptions,
    rate: positive(0.1, 'server learning rate η'),
    overRounds: serverOverRounds,
    beta1: fraction(0.9, 'β1'),
    beta2: fraction(0.99, 'β2'),
    tau,
    biasCorrection: z
      .enum(['none', 'folded', 'flower', 'pytorch'])
      .default('none')
      .describe(
        'for moments that start at 0: none; `folded`, η√(1 − β2ᵗ)/(1 − β1ᵗ)·m/(√v + τ); `flower`, the same with t one ahead; `pytorch`, τ outside the correction',
      ),
  }),
  stages: (options, context) => stagesWith(adaptiveRule({ ...options, second: 'adam' }), options, context),
});

/** FedYogi (Reddi et al. 2021). */
export const fedyogi: Method = defineMethod({
  name: 'fedyogi',
  summary: 'federated averaging with Yogi at the server',
  source: `arXiv 2003.00295. ${defaults}`,
  capabilities: averaging,
  options: z.strictObject({
    ...federatedOptions,
    rate: positive(0.01, 'server learning rate η'),
    overRounds: serverOverRounds,
    beta1: fraction(0.9, 'β1'),
    beta2: fraction(0.99, 'β2'),
    tau,
  }),
  stages: (options, context) =>
    stagesWith(adaptiveRule({ ...options, second: 'yogi', biasCorrection: 'none' }), options, context),
});
