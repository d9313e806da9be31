import { bytes, duration, loss, short, whole } from '../report/format.ts';
import { optionsText } from '../report/settings.ts';
import { toText, type Table } from '../report/table.ts';
import type { ArmOutcome, NewClientValues, WorseOff } from './client-outcomes.ts';
import { analyseSweep, type Comparison, type Metric } from './compare-arms.ts';
import { armCurves, type ArmCurve } from './convergence.ts';
import { equalityOf, type Equality } from './equality.ts';
import type { SweepArm, SweepResults } from './results.ts';
import {
  convergedText,
  equalitySentences,
  headline,
  interval,
  none,
  pText,
  signed,
  spread,
  stageText,
  title,
  verdictText,
} from './words.ts';

const unit: Readonly<Record<Metric, string>> = {
  loss: 'loss',
  tokenAccuracy: 'token accuracy',
  exactMatch: 'exact match',
  rougeL: 'ROUGE-L',
};

/**
 * One comparison as a table: mean ± sd over seeds, the difference from the baseline with its interval over seeds and (`clients`)
 * over clients, p after Holm, and what it may say.
 */
export function comparisonTable(
  { metric, values, differences }: Comparison,
  baseline: string,
  clients: boolean,
): Table {
  const rows = values.map((arm) => {
    const found = differences.find(({ label }) => label === arm.label);
    const cells = found
      ? [
          signed(metric, found.mean),
          interval(metric, found.overSeeds),
          ...(clients ? [interval(metric, found.overClients)] : []),
          pText(found.holm),
          verdictText(found),
        ]
      : [none, none, ...(clients ? [none] : []), none, arm.label === baseline ? 'baseline' : none];
    return [arm.label, whole(arm.seeds.length), spread(metric, arm), ...cells];
  });
  const over = ['95 % over seeds', ...(clients ? ['95 % over clients'] : [])];
  const head = ['arm', 'seeds', `${unit[metric]}, mean ± sd`, 'difference', ...over, 'p (Holm)', 'says'];
  return { head, right: head.map((_, i) => i > 0 && i < head.length - 1), rows };
}

/** Worst tenth, variance over clients and clients worse off, a line per arm and kind of model; means over seeds. */
export function outcomesTable(outcomes: readonly ArmOutcome[]): Table {
  const local = outcomes.some(({ worseThanLocal }) => worseThanLocal !== undefined);
  const head = [
    'arm',
    'model',
    'worst 10 % of clients',
    'variance over clients',
    'worse than base',
    ...(local ? ['worse than local only'] : []),
  ];
  return {
    head,
    right: head.map((_, i) => i === 2 || i === 3),
    rows: outcomes.map((one) => [
      one.label,
      one.model,
      loss(one.worst),
      one.variance.toPrecision(3),
      worseText(one.worseThanBase, one.whoBase, one),
      ...(local ? [one.worseThanLocal === undefined ? none : worseText(one.worseThanLocal, one.whoLocal, one)] : []),
    ]),
  };
}

function worseText(count: number, who: readonly WorseOff[], { seeds, clients }: ArmOutcome): string {
  if (who.length === 0) return `0 of ${clients}`;
  if (count === clients) return `all ${clients}`;
  const names = who
    .slice(0, 3)
    .map(({ client, seeds: times }) => (seeds > 1 ? `${client} (${times} of ${seeds} seeds)` : client));
  const more = who.length > 3 ? `, ${who.length - 3} more` : '';
  return `${seeds > 1 ? count.toFixed(1) : whole(count)} of ${clients}: ${names.join(', ')}${more}`;
}

/** What each arm is worth to clients who took no part; undefined where the sweep has none. */
export function newClientsTable(values: readonly NewClientValues[]): Table | undefined {
  if (values.length === 0) return undefined;
  return {
    head: ['arm', 'new clients', 'loss with the global adapter', 'after the local stage, each for itself'],
    right: [false, true, true, true],
    rows: values.map(({ label, clients, global, personal }) => [
      label,
      whole(clients),
      spread('loss', global),
      personal ? spread('loss', personal) : none,
    ]),
  };
}

/** What each arm cost, mean over its seeds. */
export const costTable = ({ costs }: Equality): Table => ({
  head: ['arm', 'seeds', 'labelled tokens', 'up per client', 'down per client', 'time', 'values tried', 'tuning runs'],
  right: [false, true, true, true, true, true, true, true],
  rows: costs.map((cost) => [
    cost.label,
    whole(cost.seeds),
    cost.labelledTokens === undefined ? none : short(cost.labelledTokens),
    bytes(cost.up),
    bytes(cost.down),
    duration(cost.seconds),
    whole(cost.tries),
    whole(cost.tuningRuns),
  ]),
});

/** Whether each arm's stages had converged. */
export const convergenceTable = (curves: readonly ArmCurve[]): Table => ({
  head: ['arm', 'at the end of each stage'],
  right: [false, false],
  rows: curves.map((curve) => [curve.label, curve.stages.map(stageText).join('; ')]),
});

/** Every value that was tried in tuning; an arm's lowest validation loss is marked, and what failed says why. Undefined where nothing was tuned. */
export function triedTable(arms: readonly SweepArm[]): Table | undefined {
  const rows = arms.flatMap(({ label, tried }) => {
    const lowest = Math.min(...tried.flatMap(({ validationLoss }) => validationLoss ?? []));
    return tried.map(({ options, validationLoss, seeds, failed }) => [
      label,
      optionsText(options),
      validationLoss === null ? '–' : loss(validationLoss),
      seeds.join(', '),
      failed !== undefined ? `failed: ${failed}` : validationLoss === lowest ? 'lowest' : '',
    ]);
  });
  if (rows.length === 0) return undefined;
  return {
    head: ['arm', 'values', 'validation loss', 'tuning seeds', ''],
    right: [false, false, true, false, false],
    rows,
  };
}

/** The end of `fedlora sweep` in a terminal: the headline, a table per kind of model, what was equal, and who had converged. */
export function sweepText(results: SweepResults): string {
  const analysis = analyseSweep(results);
  const tables = analysis.comparisons
    .filter(({ metric }) => metric === 'loss')
    .map((one) => `${title(one)}\n${toText(comparisonTable(one, analysis.baseline, false))}`);
  const curves = armCurves(results).map((curve) => `${curve.label} ${convergedText(curve)}`);
  return [
    headline(analysis),
    ...tables,
    equalitySentences(equalityOf(results)).join('\n'),
    ...(curves.length > 0 ? [`Validation curves: ${curves.join('; ')}.`] : []),
  ].join('\n\n');
}
