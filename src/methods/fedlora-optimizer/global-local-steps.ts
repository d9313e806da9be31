import { add, subtract } from '../../tensor/tensors.ts';
import { training, type TrainSettings } from '../../train/settings.ts';
import { meanUpdate } from '../average-factors.ts';
import { privateState, type PrivateState } from '../private-state.ts';
import type { Stage } from '../stage.ts';
import { asDelta, fromDelta, type GlobalStage, type GlobalState, learntFactors } from './global-optimizer.ts';
import { weightOf, type Weighting } from '../weights.ts';

export interface GlobalLocalSteps extends GlobalStage {
  /** Steps, batch and rate of a client's task. */
  readonly train: TrainSettings;
  readonly weights: Weighting;
}

/**
 * Stage 1 with `globalData: localSteps`: clients take steps on ΔA_D themselves, and the server adds the weighted mean of what they
 * moved it by. n(·) renormalises wherever ΔA_D is used, also after averaging.
 */
export function globalLocalSteps(options: GlobalLocalSteps): Stage<Omit<GlobalState, 'optimizer'>, PrivateState> {
  const { layout, parametrisation } = options;
  return {
    name: 'global',
    rounds: options.rounds,
    participants: 'sampled',
    combine: 'sum',
    start: ({ adapter }) => ({ factors: adapter.factors, delta: parametrisation.at(adapter).init }),
    frozen: ({ factors }) => factors,
    broadcast: ({ delta }) => asDelta(delta),
    async *work(received, mine, kit) {
      const { factors, delta } = fromDelta(received);
      const trained = yield* kit.train({
        from: { layout, factors },
        parametrisation,
        params: delta,
        ...training(options.train, kit),
      });
      return {
        update: asDelta(subtract(trained.params, delta)),
        weight: weightOf(options.weights, kit),
        mine: privateState(mine),
      };
    },
    apply: ({ factors, delta }, combined) => ({ factors, delta: add(delta, fromDelta(meanUpdate(combined)).delta) }),
    models: (shared, mine) => options.personal(learntFactors(layout, parametrisation, shared), privateState(mine)),
  };
}
