import { z } from 'zod';
import { factors } from '../lora/factors.ts';
import type { Tensors } from '../tensor/tensor.ts';
import { addScaled, subtract } from '../tensor/tensors.ts';
import { averageFactors } from './average-factors.ts';
import { averaging } from './capabilities.ts';
import { defineMethod } from './method.ts';
import { federatedOptions, federatedRounds } from './options.ts';

/** FedProx (Li et al. 2020, arXiv 1812.06127): FedIT whose clients are held near the server's factors by a quadratic term. */
export const fedprox = defineMethod({
  name: 'fedprox',
  summary: 'federated averaging; each client’s loss gains (μ/2)‖θ − θ_t‖² around the factors it received',
  source:
    'arXiv 1812.06127, applied to A and B as OpenFedLLM does (μ = 0.01 is its default). Here the term’s gradient passes through AdamW.',
  capabilities: averaging,
  options: z.strictObject({
    ...federatedOptions,
    mu: z.number().min(0).default(0.01).describe('weight μ of the proximal term; 0 is FedIT'),
  }),
  stages: ({ mu, ...options }, context) => [
    averageFactors({
      ...federatedRounds(options, context),
      parametrisation: factors(),
      ...(mu > 0 && { correct: (start: Tensors) => proximalGradient(start, mu) }),
    }),
  ],
});

/** Adds μ(θ − θ_t), the gradient of (μ/2)‖θ − θ_t‖². */
export const proximalGradient =
  (start: Tensors, mu: number) =>
  (gradients: Tensors, params: Tensors): Tensors =>
    addScaled(gradients, subtract(params, start), mu);
