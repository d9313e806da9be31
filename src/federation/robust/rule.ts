import { UserError } from '../../errors.ts';
import type { ClientUpdate, Stage } from '../../methods/stage.ts';
import type { State } from '../../tensor/state.ts';
import { add, getTensor, scale } from '../../tensor/tensors.ts';
import type { Tensors } from '../../tensor/tensor.ts';
import type { CombinedRound } from '../combine.ts';
import { serverSide } from '../federation.ts';
import { bulyan } from './bulyan.ts';
import { median, trimmedMean } from './coordinate-wise.ts';
import { productDistances, squaredDistances, type Distances } from './distances.ts';
import { geometricMedian } from './geometric-median.ts';
import { krum, multiKrum } from './krum.ts';

/** A robust rule with its numbers. `bad` is f, how many clients of a round may send anything. */
export type RobustRule =
  | ({ readonly rule: 'krum' | 'bulyan'; readonly bad: number } & Chooses)
  /** `keep`: how many of the best are averaged; by default all but the bad. */
  | ({ readonly rule: 'multi-krum'; readonly bad: number; readonly keep?: number } & Chooses)
  /** `share`: of the values of each coordinate, cut at each end. */
  | { readonly rule: 'trimmed-mean'; readonly share: number }
  | { readonly rule: 'median' | 'geometric-median' };

/** `distance`: whether updates are as far apart as their numbers (the default), or as the clients' products B·A. */
interface Chooses {
  readonly distance?: 'factors' | 'product';
}

const byProducts = (rule: RobustRule): boolean => 'distance' in rule && rule.distance === 'product';

/**
 * What a rule makes of all updates of a round, in place of their weighted mean; weights do not count. `distances`, by default
 * those of the updates, are what Krum, Multi-Krum and Bulyan choose by.
 */
export function robustMean(
  updates: readonly Tensors[],
  rule: RobustRule,
  distances: () => Distances = () => squaredDistances(updates),
): Tensors {
  switch (rule.rule) {
    case 'krum':
      return krum(updates, rule.bad, distances());
    case 'multi-krum':
      return multiKrum(updates, rule.bad, rule.keep, distances());
    case 'bulyan':
      return bulyan(updates, rule.bad, distances());
    case 'median':
      return median(updates);
    case 'trimmed-mean':
      return trimmedMean(updates, rule.share);
    case 'geometric-median':
      return geometricMedian(updates);
  }
}

/** How many updates a rule takes at least; fewer are refused. */
export function leastUpdates(rule: RobustRule): number {
  switch (rule.rule) {
    case 'krum':
      return 2 * rule.bad + 3;
    case 'multi-krum':
      return Math.max(2 * rule.bad + 3, (rule.keep ?? 1) + rule.bad);
    case 'bulyan':
      return 4 * rule.bad + 3;
    case 'median':
    case 'trimmed-mean':
    case 'geometric-median':
      return 1;
  }
}

/**
 * The rule that stands in for a stage's sum: none where nothing is sent, where the server's own rows are the only participant,
 * or where no rule is set. Throws UserError where the method combines single updates itself.
 */
export function ruleAt({
  stage,
  robust,
}: {
  readonly stage: Stage;
  readonly robust?: RobustRule;
}): RobustRule | undefined {
  if (robust === undefined || stage.combine === 'none' || serverSide(stage) !== undefined) return undefined;
  if (stage.combine === 'each') {
    throw new UserError(
      `stage “${stage.name}” combines the clients’ updates itself, and ${robust.rule} cannot take its place: use a method that adds updates up, or \`combine: plain\``,
    );
  }
  if (stage.exactSums === true) {
    throw new UserError(
      `stage “${stage.name}” needs the sum of exactly what its clients sent, since each takes its own part out of it again, and ${robust.rule} gives another: use another method, or \`combine: plain\``,
    );
  }
  if (byProducts(robust) && stage.updates !== 'factors') {
    throw new UserError(
      `stage “${stage.name}” sends other things than the whole of A and B or a change of them, so its updates have no products to be compared: use \`distance: factors\``,
    );
  }
  return robust;
}

/** Where a round stands: what its clients were sent. */
interface Sent {
  readonly stage: Stage;
  readonly shared: State;
  readonly round: number;
}

/** The rule's result as the sum of that many updates of weight 1, which is what a stage that asks for a sum gets. */
export function robustSum({ combined, ...rest }: CombinedRound, rule: RobustRule, sent: Sent): CombinedRound {
  if (combined.kind !== 'each') throw new Error('a robust rule needs every update');
  const updates = combined.updates.map(({ update }) => update);
  const count = updates.length;
  const distances = byProducts(rule) ? () => distancesOfProducts(combined.updates, sent) : undefined;
  const sum = scale(robustMean(updates, rule, distances), count);
  return { ...rest, combined: { kind: 'sum', sum, weight: count, clients: count } };
}

/** Distances between the products B·A with which the clients ended: what each was sent, plus its update. */
function distancesOfProducts(updates: readonly ClientUpdate[], { stage, shared, round }: Sent): Distances {
  const frozen = stage.frozen?.(shared, round) ?? new Map();
  const { layout } = stage.models(shared)[0]!.adapter;
  const ended = updates.map(({ client, update }): Tensors => {
    const received = new Map([...frozen, ...stage.broadcast(shared, client, round)]);
    const from = new Map([...update.keys()].map((key) => [key, getTensor(received, key)]));
    return new Map([...received, ...add(from, update)]);
  });
  return productDistances(ended, layout.modules);
}
