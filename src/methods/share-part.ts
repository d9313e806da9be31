import { keyOfA, type LoraLayout } from '../lora/adapter.ts';
import { factors as allFactors } from '../lora/factors.ts';
import type { Tensors } from '../tensor/tensor.ts';
import { meanUpdate, trainFactors, type AveragedTraining } from './average-factors.ts';
import { privateState, type PrivateState } from './private-state.ts';
import type { Stage } from './stage.ts';
import { add } from '../tensor/tensors.ts';

export interface SharedPart extends Omit<AveragedTraining, 'parametrisation'> {
  readonly layout: LoraLayout;
  /** Whether a factor is sent and averaged; the others stay with their client. */
  readonly shares: (key: string) => boolean;
}

/**
 * Clients train A and B; the shared factors are averaged, the others never leave their client and survive each download bit
 * for bit. There is no one global model: as the global one counts the averaged part with the other as it was at the start.
 */
export function sharePart(options: SharedPart): Stage<Tensors, PrivateState> {
  const { layout, shares } = options;
  const shared = (factors: Tensors): Tensors => pick(factors, shares);
  return {
    name: options.name,
    rounds: options.rounds,
    participants: 'sampled',
    combine: 'sum',
    start: ({ adapter }) => adapter.factors,
    // What a client's own part starts at.
    frozen: (factors) => pick(factors, (key) => !shares(key)),
    broadcast: shared,
    async *work(received, mine, kit) {
      const before = privateState(mine);
      const own = new Map([...received, ...(before.personal ?? [])]);
      const {
        update,
        weight,
        mine: after,
      } = yield* trainFactors({ ...options, parametrisation: allFactors() }, own, before, kit);
      const personal = pick(add(own, update), (key) => !shares(key));
      return { update: shared(update), weight, mine: { ...after, personal } };
    },
    apply: (factors, combined) => new Map([...factors, ...add(shared(factors), meanUpdate(combined))]),
    models: (factors, mine) => [
      {
        adapter: { layout, factors: new Map([...factors, ...(privateState(mine).personal ?? [])]) },
        weight: 1,
      },
    ],
  };
}

/** The module of a factor. */
export const moduleOf = (key: string): string => key.slice(0, key.lastIndexOf('.'));
export const isA = (key: string): boolean => key === keyOfA(moduleOf(key));

/** What the papers of such methods leave open. */
export const noGlobalModel =
  'The papers have no single global model; here it is the average of what is shared with the rest as it was at the start.';

const pick = (tensors: Tensors, wanted: (key: string) => boolean): Tensors =>
  new Map([...tensors].filter(([key]) => wanted(key)));
