import { UserError } from '../../errors.ts';
import { directionOfA, directionOfB } from '../../lora/direction.ts';
import { factors, onlyA, onlyB } from '../../lora/factors.ts';
import { identified } from '../../lora/identity.ts';
import { magnitudeOfA, magnitudeOfB } from '../../lora/magnitude.ts';
import type { Parametrisation } from '../../lora/parametrisation.ts';
import { adam } from '../../optim/adamw.ts';
import { averageFactors } from '../average-factors.ts';
import { personalModel } from '../local-training.ts';
import { averaging as averagingRow } from '../capabilities.ts';
import { defineMethod } from '../method.ts';
import { serverShare, withLocal } from '../options.ts';
import type { MethodContext, Stage } from '../stage.ts';
import { averageComponents } from './average-components.ts';
import { globalLocalSteps } from './global-local-steps.ts';
import { globalOptimizer, type GlobalStage } from './global-optimizer.ts';
import { localOptimizers } from './local-optimizers.ts';
import { defaultRates, type Options, options } from './options.ts';

/** FedLoRA-Optimizer (arXiv 2510.11274): federated averaging of LoRA, then one global optimizer on A's directions, then local optimizers on B's magnitudes. */
export const fedloraOptimizer = defineMethod({
  name: 'fedlora-optimizer',
  summary:
    'averages magnitudes and directions of LoRA, then trains A’s directions globally and B’s magnitudes at each client',
  source:
    'arXiv 2510.11274, of which only the abstract and summaries are public: the split A = A_M·A_D, B = B_M·B_D, the global optimizer ' +
    'on ΔA_D, the local ones on ΔB_M with λ‖ΔB_M‖², and their order are the paper’s; every option’s default is this project’s choice.',
  capabilities: {
    ...averagingRow,
    trains: 'A, B; A’s directions; B’s magnitudes',
    uploads: 'A, B; gradients of A’s directions; nothing',
    secureAggregation: { with: { upload: 'components' } },
  },
  options,
  stages: (options, context) => {
    if (options.order === 'local-first' && options.schedule === 'interleaved') {
      throw new UserError(
        'fedlora-optimizer: `order: local-first` needs `schedule: staged`, since interleaved global steps come before the local stage',
      );
    }
    if (options.globalData === 'localSteps' && options.global.overRounds !== undefined) {
      throw new UserError(
        'fedlora-optimizer: `global.overRounds` is of the one optimizer at the server; with `globalData: localSteps` clients take the steps, and `train.overRounds` lets their rate fall',
      );
    }
    const shared = sharedStages(options, context);
    if (options.local.skip) return shared;
    const local = localStage(options, context);
    return options.order === 'global-first' ? [...shared, local] : beforeGlobal(shared, local);
  },
});

/** Stages 0 and 1, of the model that all share: all rounds and then the global steps, or some global steps after each round. */
function sharedStages(options: Options, context: MethodContext): Stage[] {
  const rounds = options.rounds ?? context.rounds;
  const steps = options.global.rounds;
  if (options.schedule === 'staged') {
    return [averaging(options, context, rounds), ...(steps > 0 ? [globalStage(options, context, steps)] : [])];
  }
  const upTo = (round: number): number => Math.floor((steps * round) / rounds);
  return Array.from({ length: rounds }, (_, round) => {
    const now = upTo(round + 1) - upTo(round);
    return [averaging(options, context, 1), ...(now > 0 ? [globalStage(options, context, now)] : [])];
  }).flat();
}

/** Stage 0: federated rounds in which A and B are trained. */
function averaging(options: Options, { layout, train }: MethodContext, rounds: number): Stage {
  const common = { rounds, layout, train, weights: options.weights, optimizerState: options.optimizerState };
  return options.average === 'components'
    ? averageComponents({ ...common, axis: options.axis, upload: options.upload })
    : averageFactors({ ...common, name: 'federated', parametrisation: factors() });
}

/** Stage 1: the global optimizer on ΔA_D. */
function globalStage(options: Options, { layout, train }: MethodContext, rounds: number): Stage {
  const { rows, steps, overRounds, rounds: all } = options.global;
  const rate = options.global.rate ?? defaultRates[options.axis].global;
  const parametrisation = globalPart(options);
  // Whatever the personal part is to be, nobody has one yet, unless it came first.
  const parts = [parametrisation, ...(options.order === 'local-first' ? [localPart(options)] : [])];
  const made = { layout, train, rate, rows, steps, globalData: options.globalData, weights: options.weights };
  const common: GlobalStage = {
    rounds,
    layout,
    parametrisation,
    personal: (factors, mine) => personalModel(layout, localPart(options), factors, mine),
  };
  if (options.globalData === 'localSteps') {
    const stage = globalLocalSteps({
      ...common,
      train: { ...train, length: { steps }, rate, weightDecay: 0 },
      weights: options.weights,
    });
    return identified(stage, 'global', parts, made);
  }
  const participants = options.globalData === 'proxy' ? 'proxy' : 'sampled';
  const stage = globalOptimizer({
    ...common,
    participants,
    optimizer: adam({ rate: (step) => rate * serverShare(overRounds, step, all) }),
    rows,
    batchSize: train.batchSize,
  });
  return identified(stage, 'global', parts, { ...made, overRounds: overRounds && [overRounds, all] });
}

/** Stage 2: the local optimizers on ΔB_M, each at its client. */
function localStage(options: Options, { layout, train }: MethodContext): Stage {
  return localOptimizers({
    layout,
    parametrisation: localPart(options),
    train: withLocal({ ...train, rate: defaultRates[options.axis].local }, options.local),
    lambda: options.lambda,
    penalty: options.penalty,
  });
}

/** What the global optimizer trains: A_D, or in an ablation A_M or A itself. */
function globalPart({ axis, renormalise, global }: Options): Parametrisation {
  switch (global.part) {
    case 'direction':
      return directionOfA({ axis, renormalise });
    case 'magnitude':
      return magnitudeOfA({ axis });
    case 'factor':
      return onlyA();
  }
}

/** What the local optimizers train: B_M, or in an ablation B_D or B itself. */
function localPart({ axis, renormalise, local }: Options): Parametrisation {
  switch (local.part) {
    case 'magnitude':
      return magnitudeOfB({ axis });
    case 'direction':
      return directionOfB({ axis, renormalise });
    case 'factor':
      return onlyB();
  }
}

/** The ablation with its order swapped: personal magnitudes are trained on stage 0's model, the global stage comes last. */
function beforeGlobal(shared: readonly Stage[], local: Stage): Stage[] {
  const first = shared.findIndex((stage) => stage.name === 'global');
  return first < 0 ? [...shared, local] : [...shared.slice(0, first), local, ...shared.slice(first)];
}
