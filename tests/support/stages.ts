import type { LoraLayout } from '../../src/lora/adapter.ts';
import { factors } from '../../src/lora/factors.ts';
import type { Stage } from '../../src/methods/stage.ts';
import { sgd } from '../../src/optim/sgd.ts';
import type { Tensors } from '../../src/tensor/tensor.ts';
import { add, scale, subtract } from '../../src/tensor/tensors.ts';
import { weightedSum } from '../../src/tensor/weighted.ts';

type Visits = { readonly visits: number; readonly last: Tensors };

/** What a client keeps here: how often its work was accepted, and where it ended. */
export const visitsOf = (mine: unknown): number => (mine as Visits | undefined)?.visits ?? 0;

/** Federated averaging of the factors; each client keeps a count and its last factors, and starts a little towards these. */
export function averaging(
  layout: LoraLayout,
  options: {
    readonly rounds: number;
    readonly name?: string;
    readonly combine?: 'sum' | 'each';
    readonly steps?: number;
    readonly batchSize?: number;
    readonly rate?: number;
  },
): Stage<Tensors, Visits> {
  const { rounds, name = 'federated', combine = 'sum', steps = 2, batchSize = 2, rate = 0.1 } = options;
  return {
    name,
    rounds,
    participants: 'sampled',
    combine,
    updates: 'factors',
    start: ({ adapter }) => adapter.factors,
    broadcast: (shared) => shared,
    async *work(received, mine, kit) {
      const before = mine as Visits | undefined;
      const from = before ? add(scale(received, 0.9), scale(before.last, 0.1)) : received;
      const { adapter } = yield* kit.train({
        from: { layout, factors: from },
        parametrisation: factors(),
        optimizer: sgd({ rate }),
        length: { steps },
        batchSize,
      });
      return {
        update: subtract(adapter.factors, received),
        weight: kit.examples,
        mine: { visits: visitsOf(mine) + 1, last: adapter.factors },
      };
    },
    apply(shared, combined) {
      if (combined.kind === 'sum') return add(shared, scale(combined.sum, 1 / combined.weight));
      const total = combined.updates.reduce((sum, { weight }) => sum + weight, 0);
      const sum = weightedSum(combined.updates.map(({ update, weight }) => ({ tensors: update, weight })));
      return add(shared, scale(sum, 1 / total));
    },
    models: (shared, mine) => [
      { adapter: { layout, factors: (mine as Visits | undefined)?.last ?? shared }, weight: 1 },
    ],
  };
}

/** Every client trains for itself from the global adapter; nothing is sent. */
export function local(
  layout: LoraLayout,
  options: { readonly steps?: number; readonly rounds?: number } = {},
): Stage<Tensors, Visits> {
  const alone = averaging(layout, {
    rounds: options.rounds ?? 1,
    name: 'local',
    ...(options.steps && { steps: options.steps }),
  });
  return {
    ...alone,
    participants: 'every',
    combine: 'none',
    async *work(received, mine, kit) {
      return { ...(yield* alone.work(received, mine, kit)), update: new Map() };
    },
    apply: (shared) => shared,
  };
}
