import { mean, pairedDifference, pairedOverSeeds, type Estimate } from '../../src/experiments/statistics.ts';
import type { MethodSummary, Score, Summary } from '../../src/report/summary.ts';
import { lossesOf } from './runs.ts';

export type Kind = 'global' | 'personal';

/** A method's scores of one kind; a method without personal models gives everybody the global one. */
export const scoresOf = (method: MethodSummary, kind: Kind): { readonly clients: Readonly<Record<string, Score>> } =>
  kind === 'personal' ? (method.personal ?? method.global) : method.global;

const find = (summary: Summary, label: string): MethodSummary => {
  const method = summary.methods.find((one) => one.label === label);
  if (method === undefined) throw new Error(`the runs have no method ${label}`);
  return method;
};

/** Per seed, the clients' losses of a method. */
export const perSeed = (runs: readonly Summary[], label: string, kind: Kind): number[][] =>
  runs.map((run) => lossesOf(scoresOf(find(run, label), kind)));

export interface Comparison {
  readonly label: string;
  readonly against: string;
  readonly kind: Kind;
  /** Loss of `label` less loss of `against`, mean over clients, seeds as replicates: below 0 where `label` is better. */
  readonly difference: Estimate;
  /** The same for each client by itself. */
  readonly clients: readonly { readonly client: string; readonly difference: Estimate }[];
}

/** Paired differences of one method against another, client by client and seed by seed, with their t intervals over seeds. */
export function compare(runs: readonly Summary[], label: string, against: string, kind: Kind): Comparison {
  const [a, b] = [perSeed(runs, label, kind), perSeed(runs, against, kind)];
  const names = Object.keys(runs[0]!.base.clients).sort();
  const column = (losses: readonly number[][], i: number): number[] => losses.map((seed) => seed[i]!);
  const clients = names.map((client, i) => ({ client, difference: pairedDifference(column(a, i), column(b, i)) }));
  return { label, against, kind, difference: pairedOverSeeds(a, b), clients };
}

const number = (value: number): string => value.toFixed(3);
const interval = ({ mean: centre, low, high }: Estimate): string =>
  `${number(centre)} [${number(low)}, ${number(high)}]`;

/** The Markdown tables of a study: means over seeds, then the paired differences. */
export function markdown(runs: readonly Summary[], comparisons: readonly Comparison[]): string {
  const labels = runs[0]!.methods.map((method) => method.label);
  const accuracy = (label: string, kind: Kind): string => {
    const shares = runs.map((run) =>
      mean(Object.values(scoresOf(find(run, label), kind).clients).map((score) => score.tokenAccuracy)),
    );
    return `${(100 * mean(shares)).toFixed(1)} %`;
  };
  const loss = (label: string, kind: Kind): string => number(mean(perSeed(runs, label, kind).map(mean)));
  const work = (label: string): string => `${Math.round(mean(runs.map((run) => find(run, label).labelledTokens)))}`;
  const base = number(mean(runs.map((run) => mean(lossesOf(run.base)))));
  return [
    `| method | global loss | tokens right | personal loss | tokens right | labelled tokens |`,
    `|---|---|---|---|---|---|`,
    `| base model | ${base} | | | | 0 |`,
    ...labels.map((label) =>
      [
        '',
        label,
        loss(label, 'global'),
        accuracy(label, 'global'),
        loss(label, 'personal'),
        accuracy(label, 'personal'),
        work(label),
        '',
      ]
        .join(' | ')
        .trim(),
    ),
    '',
    `| paired difference of loss (below 0: the first is better) | model | mean over desks [95 % interval over seeds] | p |`,
    `|---|---|---|---|`,
    ...comparisons.map(
      ({ label, against, kind, difference }) =>
        `| ${label} − ${against} | ${kind} | ${interval(difference)} | ${difference.p.toPrecision(2)} |`,
    ),
    '',
    `| desk by desk, personal models | ${comparisons[0]!.clients.map(({ client }) => client).join(' | ')} |`,
    `|---|${comparisons[0]!.clients.map(() => '---').join('|')}|`,
    ...comparisons
      .filter(({ kind }) => kind === 'personal')
      .map(
        ({ label, against, clients }) =>
          `| ${label} − ${against} | ${clients.map(({ difference }) => interval(difference)).join(' | ')} |`,
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
