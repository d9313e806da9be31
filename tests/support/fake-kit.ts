import type { ClientData, TokenRow } from '../../src/data/types.ts';
import { clientKit } from '../../src/train/client-kit.ts';
import type { WorkContext } from '../../src/train/context.ts';
import type { ClientKit } from '../../src/train/kit.ts';
import { fakeAdapter, fakeEngine, fakeLayout, goal, labelledOf } from './fake-engine.ts';

export const layout = fakeLayout();
export const from = fakeAdapter(layout);

/** Kits of one client over the fake engine, in the first round of a stage. */
export const kitsOf =
  (client: ClientData) =>
  (more: Partial<WorkContext> = {}): ClientKit =>
    clientKit({
      client,
      engine: fakeEngine(layout),
      seed: 5,
      stage: 's',
      round: 0,
      rounds: 1,
      signal: new AbortController().signal,
      ...more,
    });

/** What the labelled tokens of some rows pull every number towards, on the mean. */
export function meanGoal(rows: readonly TokenRow[]): number {
  const goals = labelledOf(rows).map(goal);
  return goals.reduce((sum, value) => sum + value, 0) / goals.length;
}
