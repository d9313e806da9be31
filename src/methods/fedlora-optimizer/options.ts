import { z } from 'zod';
import { localOptions, serverOverRounds } from '../options.ts';
import { optimizerState } from '../private-state.ts';
import { weighting } from '../weights.ts';

/**
 * The options of FedLoRA-Optimizer. The paper (arXiv 2510.11274) fixes what is trained (directions of A globally, magnitudes of B
 * locally, with a penalty λ‖ΔB_M‖²) and the order; everything named here is this project's choice where the paper is not public.
 */
export const options = z.strictObject({
  axis: z
    .enum(['column', 'rank', 'row'])
    .default('column')
    .describe(
      'which vectors of A and B have a magnitude: `column` (axis 0 of both, DoRA’s definition), `rank` (A over axis 1, B over axis 0), `row` (axis 1 of both)',
    ),
  renormalise: z
    .enum(['full', 'detach', 'off'])
    .default('full')
    .describe(
      'how a trained direction stays a unit vector: exact gradient through the norm, norm treated as constant, or not at all',
    ),
  average: z
    .enum(['components', 'factors'])
    .default('components')
    .describe('what the federated rounds average: magnitudes and directions apart, or A and B as they are'),
  upload: z
    .enum(['factors', 'components'])
    .default('factors')
    .describe(
      'what clients send when components are averaged: A and B, or (where only sums may be seen) the four components',
    ),
  weights: weighting.default('examples'),
  globalData: z
    .enum(['clients', 'proxy', 'localSteps'])
    .default('clients')
    .describe(
      'whose data the global optimizer sees: clients send gradients to the one optimizer at the server; the server has proxy rows of its own; or clients take local steps that are averaged',
    ),
  schedule: z
    .enum(['staged', 'interleaved'])
    .default('staged')
    .describe('the global stage once after all rounds, or its steps spread over the rounds'),
  order: z.enum(['global-first', 'local-first']).default('global-first').describe('`local-first` is an ablation'),
  rounds: z.int().positive().optional().describe('federated rounds of stage 0, if not the run’s'),
  lambda: z.number().min(0).default(1e-3).describe('weight λ of the penalty λ·Σ‖ΔB_M‖²'),
  penalty: z
    .enum(['coupled', 'proximal'])
    .default('coupled')
    .describe(
      'in the loss, so that its gradient passes through AdamW; or a proximal step ΔB_M/(1 + 2·rate·λ) after it',
    ),
  optimizerState,
  global: z
    .strictObject({
      rounds: z.int().min(0).default(8).describe('global steps G; 0 leaves the stage out'),
      rate: z
        .number()
        .positive()
        .optional()
        .describe('learning rate; by default 5e-2 for column and rank, 1e-2 for row'),
      overRounds: serverOverRounds,
      rows: z
        .union([z.literal('all'), z.int().positive()])
        .default(16)
        .describe('training rows per client and gradient, or all'),
      steps: z.int().positive().default(4).describe('local steps per round with `globalData: localSteps`'),
      part: z
        .enum(['direction', 'magnitude', 'factor'])
        .default('direction')
        .describe('the part of A it trains; others than direction are ablations'),
    })
    .prefault({})
    .describe('stage 1, the global optimizer'),
  local: localOptions
    .extend({
      skip: z.boolean().default(false).describe('leaves the stage out: no personal models'),
      part: z
        .enum(['magnitude', 'direction', 'factor'])
        .default('magnitude')
        .describe('the part of B it trains; others than magnitude are ablations'),
    })
    .prefault({})
    .describe('stage 2, the local optimizers; its rate is by default 3e-2 for column and rank, 3e-3 for row'),
});

export type Options = z.output<typeof options>;

/** Default learning rates by axis, from the study in METHOD: entries of a direction are larger in column form. To be tuned on validation. */
export const defaultRates = {
  column: { global: 5e-2, local: 3e-2 },
  rank: { global: 5e-2, local: 3e-2 },
  row: { global: 1e-2, local: 3e-3 },
} as const;
