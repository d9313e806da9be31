import type { AdapterMix, LoraLayout } from '../lora/adapter.ts';
import type { Parametrisation } from '../lora/parametrisation.ts';
import type { Tensors } from '../tensor/tensor.ts';
import { training, type TrainSettings } from '../train/settings.ts';
import type { TrainRequest } from '../train/kit.ts';
import { privateState, type PrivateState } from './private-state.ts';
import type { Stage } from './stage.ts';

export interface LocalTraining {
  readonly name: string;
  readonly layout: LoraLayout;
  /** What each client trains for itself. */
  readonly parametrisation: Parametrisation;
  readonly train: TrainSettings;
  /** Further parts of the train request: a penalty's gradient, a proximal operator. */
  readonly extra?: (kit: Parameters<Stage['work']>[2]) => Pick<TrainRequest, 'correct' | 'afterStep'>;
}

/** What a stage is in which every client is sent the global factors and works for itself. */
export const atEveryClient = {
  rounds: 1,
  participants: 'every',
  combine: 'none',
  start: ({ adapter }) => adapter.factors,
  broadcast: (factors) => factors,
  apply: (factors) => factors,
} satisfies Partial<Stage<Tensors, PrivateState>>;

/** Every client trains a personal model from the global one, on its own; nothing is sent and the global model stays. */
export function localTraining(options: LocalTraining): Stage<Tensors, PrivateState> {
  const { layout, parametrisation } = options;
  return {
    ...atEveryClient,
    name: options.name,
    async *work(received, mine, kit) {
      const trained = yield* kit.train({
        from: { layout, factors: received },
        parametrisation,
        ...training(options.train, kit),
        ...options.extra?.(kit),
      });
      return { update: new Map(), weight: 1, mine: { ...privateState(mine), personal: trained.params } };
    },
    models: (factors, mine) => personalModel(layout, parametrisation, factors, privateState(mine)),
  };
}

/** The global factors with a client's own params in place, if it has any. */
export function personalModel(
  layout: LoraLayout,
  parametrisation: Parametrisation,
  factors: Tensors,
  mine: PrivateState,
): AdapterMix {
  const adapter = { layout, factors };
  if (mine.personal === undefined) return [{ adapter, weight: 1 }];
  return [{ adapter: { layout, factors: parametrisation.at(adapter).toFactors(mine.personal) }, weight: 1 }];
}
