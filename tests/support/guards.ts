import type { RoundSettings } from '../../src/federation/events.ts';
import { shortened, type Scalable } from '../../src/guard/clip.ts';
import type { GuardedShared } from '../../src/guard/guarded.ts';
import type { GuardedAt } from '../../src/guard/guards.ts';
import type { Combined, Stage } from '../../src/methods/stage.ts';
import type { State } from '../../src/tensor/state.ts';
import type { Tensors } from '../../src/tensor/tensor.ts';
import { scale } from '../../src/tensor/tensors.ts';
import { clients, finished, journalIn, layout, run } from './federation.ts';
import { averaging } from './stages.ts';

export const poisson = (fraction: number): RoundSettings => ({
  sampling: 'poisson',
  fraction,
  deadline: 60,
  minimum: 1,
});
export const place = { method: 'method', stage: 'federated', stageIndex: 0 };
export const privacy = { noise: 1, delta: 1e-5, accountant: 'rdp' } as const;
export const fixed = { use: 'clip', norm: 0.3 } as const;
export const adaptive = { use: 'adaptive-clip', initial: 0.125, quantile: 0.5, rate: 0.2 } as const;

export const placed = (more: Partial<GuardedAt> = {}): GuardedAt => ({
  seed: 3,
  stageIndex: 0,
  client: 'ann',
  rate: 1,
  expected: clients.length,
  spent: [],
  normal: () => 0,
  ...more,
});
interface Unpacked extends Scalable<Unpacked> {}
const unpacked = (tensors: Tensors): Unpacked => ({ tensors, times: (factor) => unpacked(scale(tensors, factor)) });
/** An update clipped, as plain tensors. */
export function clip(update: Tensors, bound: number) {
  const { form, ...rest } = shortened(unpacked(update), bound);
  return { update: form.tensors, ...rest };
}
/** Federated averaging of clients that keep nothing, so that every round's update is known from what was sent. */
export function plain(rounds: number, of = layout): Stage {
  const stage = averaging(of, { rounds, steps: 1, batchSize: 100, rate: 0.4 });
  return {
    ...stage,
    async *work(received, _, kit) {
      return { ...(yield* stage.work(received, undefined, kit)), mine: null };
    },
  };
}
export const end = (shared: State): Tensors => (shared as GuardedShared).inner as Tensors;

/** Notes every update that is applied. */
export function watched(stage: Stage): { readonly stage: Stage; readonly seen: Combined[] } {
  const seen: Combined[] = [];
  const apply: Stage['apply'] = (shared, combined, round) => {
    seen.push(combined);
    return stage.apply(shared, combined, round);
  };
  return { stage: { ...stage, apply }, seen };
}

/** What each client would send in the first round, without guards. */
export async function updates(folder: string): Promise<Tensors[]> {
  const { stage, seen } = watched({ ...plain(1), combine: 'each' });
  await finished(run(journalIn(folder), { stages: [stage] }));
  const [combined] = seen;
  return combined?.kind === 'each' ? combined.updates.map(({ update }) => update) : [];
}
