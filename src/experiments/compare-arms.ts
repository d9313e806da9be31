import { sharesModel } from '../report/facts.ts';
import type { MethodSummary, Score } from '../report/summary.ts';
import type { SweepArm, SweepCell, SweepResults } from './results.ts';
import {
  clusterBootstrap,
  estimate,
  holm,
  mean,
  pairedDifference,
  standardDeviation,
  type BootstrapEstimate,
  type Estimate,
} from './statistics.ts';

/** Which model of an arm is measured: the one everybody gets, or the one each client ends up with. */
export type ModelKind = 'personal' | 'global';

/** What is measured, each client counting the same. */
export type Metric = 'loss' | 'tokenAccuracy' | 'exactMatch' | 'rougeL';

export const models: readonly ModelKind[] = ['personal', 'global'];
export const metrics: readonly Metric[] = ['loss', 'tokenAccuracy', 'exactMatch', 'rougeL'];

/** Fewer seeds than this describe what was seen and claim nothing. */
export const claimedSeeds = 4;
/** The chance of any false claim among an analysis' arms, after Holm's correction. */
export const alpha = 0.05;

/** What a comparison may say. `unmeasured`: fewer than two common seeds. */
export type Verdict = 'better' | 'worse' | 'undecided' | 'descriptive' | 'unmeasured';

export interface Difference {
  readonly label: string;
  /** Seeds that both the arm and the baseline have, in order. */
  readonly seeds: readonly number[];
  /** Arm less baseline per seed, mean over the clients that both have. */
  readonly perSeed: readonly number[];
  readonly mean: number;
  /** Paired t interval over seeds; undefined with one seed. */
  readonly overSeeds: Estimate | undefined;
  /** Cluster bootstrap over clients, each with all its seeds; undefined with one client. */
  readonly overClients: BootstrapEstimate | undefined;
  /** Arm less baseline per client, mean over seeds, in sorted order of clients; with its t interval from two seeds on. */
  readonly perClient: readonly {
    readonly client: string;
    readonly value: number;
    readonly overSeeds: Estimate | undefined;
  }[];
  /** Holm's adjusted p over the arms of this comparison; undefined with one seed. */
  readonly holm: number | undefined;
  readonly verdict: Verdict;
}

export interface ArmValues {
  readonly label: string;
  readonly seeds: readonly number[];
  /** Mean over clients, per seed. */
  readonly perSeed: readonly number[];
  readonly mean: number;
  /** Sample standard deviation over seeds; undefined with one. */
  readonly sd: number | undefined;
}

/** One metric of one kind of model: every arm that has it, and its difference from the baseline. */
export interface Comparison {
  readonly model: ModelKind;
  readonly metric: Metric;
  readonly values: readonly ArmValues[];
  /** Arms other than the baseline, in the sweep's order; empty where the baseline does not have this metric. */
  readonly differences: readonly Difference[];
}

export interface SweepAnalysis {
  readonly baseline: string;
  readonly comparisons: readonly Comparison[];
}

/** An arm's cells in the order of the sweep's seeds. */
export function cellsOf(results: SweepResults, label: string): readonly SweepCell[] {
  return results.seeds.flatMap((seed) => results.cells.filter((cell) => cell.arm === label && cell.seed === seed));
}

/**
 * The scores per client that a kind of model has: `personal` is the model that a client ends up with, the global one where
 * its method makes no personal ones; undefined is a global model of clients that shared nothing.
 */
export function scoresOf(method: MethodSummary, model: ModelKind): Readonly<Record<string, Score>> | undefined {
  if (model === 'personal') return (method.personal ?? method.global).clients;
  return sharesModel(method) ? method.global.clients : undefined;
}

/** A cell's values by client, where it has any. */
function valuesOf(cell: SweepCell, model: ModelKind, metric: Metric): Map<string, number> {
  const scores = Object.entries(scoresOf(cell.method, model) ?? {});
  return new Map(scores.flatMap(([client, { [metric]: value }]) => (value === undefined ? [] : [[client, value]])));
}

/**
 * Everything that is said of a sweep's arms: for each kind of model and metric the mean over clients per seed, and its paired
 * difference from the baseline with a t interval over seeds, a cluster bootstrap over clients, and Holm's correction across
 * the arms of that comparison. Pure; arms and seeds that are not done yet are left out.
 * Throws where the baseline is no arm, or an arm has two cells of one seed.
 */
export function analyseSweep(results: SweepResults): SweepAnalysis {
  check(results);
  const comparisons = models.flatMap((model) => metrics.map((metric) => compare(results, model, metric)));
  return { baseline: results.baseline, comparisons: comparisons.filter(({ values }) => values.length > 0) };
}

function check({ baseline, arms, cells }: SweepResults): void {
  if (!arms.some(({ label }) => label === baseline))
    throw new Error(`The baseline ${baseline} is none of the arms ${arms.map(({ label }) => label).join(', ')}.`);
  const seen = new Set<string>();
  for (const { arm, seed } of cells) {
    const key = JSON.stringify([arm, seed]);
    if (seen.has(key)) throw new Error(`The arm ${arm} has two results with seed ${seed}.`);
    seen.add(key);
  }
}

type BySeed = ReadonlyMap<number, ReadonlyMap<string, number>>;

function compare(results: SweepResults, model: ModelKind, metric: Metric): Comparison {
  const measured = results.arms.flatMap((arm): { arm: SweepArm; bySeed: BySeed }[] => {
    const cells = cellsOf(results, arm.label).map((cell) => [cell.seed, valuesOf(cell, model, metric)] as const);
    const bySeed = new Map(cells.filter(([, clients]) => clients.size > 0));
    return bySeed.size > 0 ? [{ arm, bySeed }] : [];
  });
  const values = measured.map(({ arm, bySeed }): ArmValues => {
    const perSeed = [...bySeed.values()].map((clients) => mean([...clients.values()]));
    const sd = perSeed.length > 1 ? standardDeviation(perSeed) : undefined;
    return { label: arm.label, seeds: [...bySeed.keys()], perSeed, mean: mean(perSeed), sd };
  });
  const base = measured.find(({ arm }) => arm.label === results.baseline);
  const raw = base
    ? measured.filter((one) => one !== base).flatMap(({ arm, bySeed }) => differ(arm.label, bySeed, base.bySeed) ?? [])
    : [];
  return { model, metric, values, differences: judge(raw, metric) };
}

type Raw = Omit<Difference, 'holm' | 'verdict'>;

/** The paired difference of two arms over the seeds and clients that both have; undefined where there are none. */
function differ(label: string, arm: BySeed, base: BySeed): Raw | undefined {
  const pairs = [...arm].flatMap(([seed, clients]) => {
    const other = base.get(seed);
    const common = [...clients.keys()].filter((client) => other?.has(client)).toSorted();
    return other && common.length > 0
      ? [{ seed, a: common.map((id) => clients.get(id)!), b: common.map((id) => other.get(id)!), common }]
      : [];
  });
  if (pairs.length === 0) return undefined;
  const a = pairs.map((pair) => mean(pair.a));
  const b = pairs.map((pair) => mean(pair.b));
  const perSeed = a.map((value, i) => value - b[i]!);
  const clusters = new Map<string, number[]>();
  for (const pair of pairs) {
    for (const [i, client] of pair.common.entries())
      clusters.set(client, [...(clusters.get(client) ?? []), pair.a[i]! - pair.b[i]!]);
  }
  const clients = [...clusters].toSorted(([x], [y]) => (x < y ? -1 : 1));
  return {
    label,
    seeds: pairs.map(({ seed }) => seed),
    perSeed,
    mean: mean(perSeed),
    overSeeds: perSeed.length > 1 ? pairedDifference(a, b) : undefined,
    overClients: clients.length > 1 ? overClients(clients.map(([, values]) => values)) : undefined,
    perClient: clients.map(([client, values]) => ({
      client,
      value: mean(values),
      overSeeds: values.length > 1 ? estimate(values) : undefined,
    })),
  };
}

/** A client is drawn with all its seeds. The same stream for every arm: arms see the same samples of clients. */
function overClients(clients: readonly (readonly number[])[]): BootstrapEstimate {
  const clusters = clients.map((values) => ({ sum: mean(values) * values.length, n: values.length }));
  const statistic = (drawn: readonly (typeof clusters)[number][]) =>
    drawn.reduce((sum, one) => sum + one.sum, 0) / drawn.reduce((sum, one) => sum + one.n, 0);
  return clusterBootstrap(clusters, statistic, { seed: 1 });
}

/** Holm's correction over the arms that have a p-value, and what each difference may then say. */
function judge(raw: readonly Raw[], metric: Metric): Difference[] {
  const tested = raw.filter(({ overSeeds }) => overSeeds !== undefined);
  const adjusted = new Map(holm(tested.map(({ overSeeds }) => overSeeds!.p)).map((p, i) => [tested[i]!, p]));
  return raw.map((one) => {
    const p = adjusted.get(one);
    return { ...one, holm: p, verdict: verdictOf(one, p, metric) };
  });
}

function verdictOf({ seeds, mean: difference }: Raw, p: number | undefined, metric: Metric): Verdict {
  if (p === undefined) return 'unmeasured';
  if (seeds.length < claimedSeeds) return 'descriptive';
  if (p >= alpha) return 'undecided';
  return difference < 0 === (metric === 'loss') ? 'better' : 'worse';
}
