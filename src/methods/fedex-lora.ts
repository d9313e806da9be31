import { z } from 'zod';
import type { LoraLayout } from '../lora/adapter.ts';
import { beside } from '../lora/beside.ts';
import { factors as allFactors } from '../lora/factors.ts';
import type { Tensor, Tensors } from '../tensor/tensor.ts';
import { trainFactors, type AveragedTraining } from './average-factors.ts';
import { clientFactors, meanPiece, ofModule, perModule, piecesOf, type ClientFactors } from './combine-factors.ts';
import { gained, gainedBefore, increment, stacked, withoutGained } from './increments.ts';
import { averaging } from './capabilities.ts';
import { defineMethod } from './method.ts';
import { federatedRounds, ownRounds } from './options.ts';
import type { Stage } from './stage.ts';
import { weighting } from './weights.ts';

/** Ā and B̄, and everything that the base has gained. */
export type Grown = { readonly factors: Tensors; readonly log: Tensors };

/** FedEx-LoRA (Singhal et al. 2024, arXiv 2410.09432): FedIT whose missing part of the mean product is added to the base. */
export const fedexLora = defineMethod({
  name: 'fedex-lora',
  summary:
    'federated averaging, made exact: what averages of A and B miss of the mean product is added to the base model',
  source:
    'arXiv 2410.09432 and its code, whose means are uniform. The residual is sent as (K − 1)·r frozen factors that stand beside the trained ones; ' +
    'weights of the base are not touched, and a client that was away is sent every round’s.',
  capabilities: {
    ...averaging,
    serverWeight: 'uniform',
    onReceipt: 'overwrites A, B; adds the residual to its base',
    exact: 'yes',
    secureAggregation: false,
  },
  options: z.strictObject({ rounds: ownRounds, weights: weighting.default('uniform') }),
  stages: (options, context) => [exact(federatedRounds(options, context))],
});

function exact(options: Omit<AveragedTraining, 'parametrisation' | 'optimizerState'>): Stage<Grown> {
  const { name, rounds, layout } = options;
  return {
    name,
    rounds,
    participants: 'sampled',
    combine: 'each',
    start: ({ adapter }) => ({ factors: adapter.factors, log: new Map() }),
    frozen: ({ log }, round) => gainedBefore(round, log),
    broadcast: ({ factors }) => factors,
    async *work(received, _, kit) {
      const parametrisation = beside(allFactors(), gained(layout, received));
      const training = { ...options, parametrisation, optimizerState: 'reset' } as const;
      return { ...(yield* trainFactors(training, withoutGained(received), {}, kit)), mine: null };
    },
    apply({ factors, log }, combined, round) {
      const clients = clientFactors(combined, (_, module) => ofModule(factors, module));
      const mean = perModule(layout, meanPiece)(clients, factors);
      return { factors: mean, log: new Map([...log, ...increment(round, residual(layout, clients, mean))]) };
    },
    models: ({ factors, log }) => [{ adapter: { layout, factors }, weight: 1 }, ...gained(layout, log)],
  };
}

/**
 * Factors of Σ p_k·B_k·A_k − B̄·Ā = Σ p_k·(B_k − B̄)(A_k − A_K): since Σ p_k·(B_k − B̄) = 0, any A may be taken off, and with
 * the last client's the last term vanishes. (K − 1)·r in rank; none where one client took part.
 */
export function residual(layout: LoraLayout, clients: readonly ClientFactors[], mean: Tensors): Tensors {
  if (clients.length === 1) return new Map();
  return stacked(layout, (module) => {
    const last = clients.at(-1)!.of(module).a;
    const { b: meanB } = piecesOf(mean)(module);
    return clients.slice(0, -1).map(({ of, share }) => {
      const { a, b } = of(module);
      return { a: difference(a, last, 1), b: difference(b, meanB, share) };
    });
  });
}

function difference({ shape, data }: Tensor, { data: other }: Tensor, factor: number): Tensor {
  const out = new Float32Array(data.length);
  for (let i = 0; i < out.length; i++) out[i] = factor * (data[i]! - other[i]!);
  return { shape, data: out };
}
