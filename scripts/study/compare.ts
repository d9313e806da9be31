import {
  analyseSweep,
  type Difference,
  type ModelKind,
  type SweepAnalysis,
} from '../../src/experiments/compare-arms.ts';
import { mean, type Estimate } from '../../src/experiments/statistics.ts';
import type { Score, Summary } from '../../src/report/summary.ts';

/** What is said of a study's runs: its methods are the arms of a sweep. */
export function analyse(runs: readonly Summary[], baseline = runs[0]!.methods[0]!.label): SweepAnalysis {
  return analyseSweep({
    baseline,
    seeds: runs.map(({ seed }) => seed),
    arms: runs[0]!.methods.map(({ label, use, options }) => ({ label, use, options, tried: [] })),
    cells: runs.flatMap(({ seed, base, methods }) =>
      methods.map((method) => ({ arm: method.label, seed, method, base, curve: [], seconds: method.seconds })),
    ),
  });
}

type Metric = 'loss' | 'tokenAccuracy';

const found = ({ comparisons }: SweepAnalysis, kind: ModelKind, metric: Metric) =>
  comparisons.find((one) => one.model === kind && one.metric === metric);

/** A method's mean over seeds of the mean over clients; undefined where it has no such model. */
export const meanOf = (analysis: SweepAnalysis, label: string, kind: ModelKind, metric: Metric): number | undefined =>
  found(analysis, kind, metric)?.values.find((one) => one.label === label)?.mean;

export interface Comparison {
  readonly label: string;
  readonly against: string;
  readonly kind: ModelKind;
  /** Loss of `label` less loss of `against`, client by client and seed by seed: below 0 where `label` is better. */
  readonly difference: Difference;
}

export function compare(runs: readonly Summary[], label: string, against: string, kind: ModelKind): Comparison {
  const { differences } = found(analyse(runs, against), kind, 'loss')!;
  const difference = differences.find((one) => one.label === label);
  if (difference === undefined) throw new Error(`the runs have no method ${label} to compare with ${against}`);
  return { label, against, kind, difference };
}

/** Every method's global model against FedIT's, and its personal models against those of FedIT with local fine-tuning. */
export function comparisons(runs: readonly Summary[]): Comparison[] {
  const labels = runs[0]!.methods.map(({ label }) => label);
  const [global, personal] = ['FedIT', 'FedIT + local fine-tuning'];
  return [
    // Without federation there is no global model to compare.
    ...labels
      .filter((label) => label !== global && label !== 'local only')
      .map((label) => compare(runs, label, global, 'global')),
    ...labels.filter((label) => label !== personal).map((label) => compare(runs, label, personal, 'personal')),
  ];
}

const number = (value: number): string => value.toFixed(3);
const interval = (estimate: Estimate | undefined): string => {
  const { mean: centre, low, high } = estimate!;
  return `${number(centre)} [${number(low)}, ${number(high)}]`;
};

/** The Markdown tables of a study of two seeds or more: means over seeds, then the paired differences. */
export function markdown(runs: readonly Summary[], pairs: readonly Comparison[]): string {
  const analysis = analyse(runs);
  const base = (metric: Metric): number => mean(runs.map((run) => run.base.macro[metric]));
  // Where clients share nothing, the base stands in the global model's place.
  const value = (label: string, kind: ModelKind, metric: Metric): number =>
    meanOf(analysis, label, kind, metric) ?? base(metric);
  const rows = runs[0]!.methods.map(({ label }, i) => [
    label,
    ...(['global', 'personal'] as const).flatMap((kind) => [
      number(value(label, kind, 'loss')),
      `${(100 * value(label, kind, 'tokenAccuracy')).toFixed(1)} %`,
    ]),
    `${Math.round(mean(runs.map(({ methods }) => methods[i]!.labelledTokens)))}`,
  ]);
  const desks = pairs[0]!.difference.perClient.map(({ client }) => client);
  return [
    '| method | global loss | tokens right | personal loss | tokens right | labelled tokens |',
    '|---|---|---|---|---|---|',
    `| base model | ${number(base('loss'))} | | | | 0 |`,
    ...rows.map((cells) => `| ${cells.join(' | ')} |`),
    '',
    '| paired difference of loss (below 0: the first is better) | model | mean over desks [95 % interval over seeds] | p |',
    '|---|---|---|---|',
    ...pairs.map(
      ({ label, against, kind, difference: { overSeeds } }) =>
        `| ${label} − ${against} | ${kind} | ${interval(overSeeds)} | ${overSeeds!.p.toPrecision(2)} |`,
    ),
    '',
    `| desk by desk, personal models | ${desks.join(' | ')} |`,
    `|---|${desks.map(() => '---').join('|')}|`,
    ...pairs
      .filter(({ kind }) => kind === 'personal')
      .map(
        ({ label, against, difference: { perClient } }) =>
          `| ${label} − ${against} | ${perClient.map(({ overSeeds }) => interval(overSeeds)).join(' | ')} |`,
      ),
  ].join('\n');
}

/** One line per seed, method, kind of model and client. */
export function csv(runs: readonly Summary[]): string {
  const lines = ['seed,method,model,client,loss,token_accuracy,test_tokens,labelled_tokens_trained'];
  const add = (
    seed: number,
    label: string,
    kind: string,
    clients: Readonly<Record<string, Score>>,
    trained: number,
  ): void => {
    for (const [client, score] of Object.entries(clients).sort(([a], [b]) => (a < b ? -1 : 1)))
      lines.push(
        [seed, label, kind, client, score.loss.toFixed(6), score.tokenAccuracy.toFixed(6), score.tokens, trained].join(
          ',',
        ),
      );
  };
  for (const run of runs) {
    add(run.seed, 'base model', 'global', run.base.clients, 0);
    for (const method of run.methods) {
      add(run.seed, method.label, 'global', method.global.clients, method.labelledTokens);
      if (method.personal) add(run.seed, method.label, 'personal', method.personal.clients, method.labelledTokens);
    }
  }
  return `${lines.join('\n')}\n`;
}
