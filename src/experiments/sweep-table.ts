import { loss, percent } from '../report/format.ts';
import { toText, type Table } from '../report/table.ts';
import {
  analyseSweep,
  type ArmValues,
  type Comparison,
  type Difference,
  type Metric,
  type SweepAnalysis,
  type Verdict,
} from './compare-arms.ts';
import type { SweepResults } from './results.ts';

const none = '–';

/** A value of a metric: a loss with three decimals, a share in percent. */
export const shown = (metric: Metric, value: number): string => (metric === 'loss' ? loss(value) : percent(value));

/** A difference with its sign; of shares, in percentage points. */
export function signed(metric: Metric, value: number): string {
  const digits = metric === 'loss' ? loss(Math.abs(value)) : (100 * Math.abs(value)).toFixed(1);
  // What rounds to nothing has no side.
  return Number(digits) === 0 ? digits : `${value < 0 ? '−' : '+'}${digits}`;
}

/** `1.234 ± 0.010` over seeds, or the value alone with one seed. */
export const spread = (metric: Metric, { mean, sd }: ArmValues): string =>
  sd === undefined
    ? shown(metric, mean)
    : `${shown(metric, mean)} ± ${metric === 'loss' ? loss(sd) : (100 * sd).toFixed(1)}`;

/** `[−0.112, −0.028]`. */
export const interval = (metric: Metric, range: { readonly low: number; readonly high: number } | undefined): string =>
  range ? `[${signed(metric, range.low)}, ${signed(metric, range.high)}]` : none;

/** A p-value with two digits, bounded below where more would only pretend. */
export const pText = (p: number | undefined): string =>
  p === undefined ? none : p < 0.0001 ? '< 0.0001' : p < 0.1 ? p.toPrecision(2) : p.toFixed(2);

/** What a difference may say, in a word or two. */
export const verdictText = ({ verdict, seeds }: Difference): string =>
  ({
    better: 'better',
    worse: 'worse',
    undecided: 'cannot be told apart',
    descriptive: `descriptive: ${seeds.length} seeds`,
    unmeasured: 'one seed: no interval',
  })[verdict];

/** One comparison as a table: mean ± sd over seeds, difference from the baseline with both intervals, p after Holm, verdict. */
export function comparisonTable({ metric, values, differences }: Comparison, baseline: string): Table {
  const rows = values.map((arm) => {
    const found = differences.find(({ label }) => label === arm.label);
    const start = [arm.label, String(arm.seeds.length), spread(metric, arm)];
    if (!found) return [...start, none, none, none, none, arm.label === baseline ? 'baseline' : none];
    const { mean, overSeeds, overClients, holm } = found;
    return [
      ...start,
      signed(metric, mean),
      interval(metric, overSeeds),
      interval(metric, overClients),
      pText(holm),
      verdictText(found),
    ];
  });
  const unit = metric === 'loss' ? 'loss' : 'percent';
  return {
    head: [
      'arm',
      'seeds',
      `${unit}, mean ± sd`,
      'difference',
      '95 % over seeds',
      '95 % over clients',
      'p (Holm)',
      `against ${baseline}`,
    ],
    right: [false, true, true, true, true, true, true, false],
    rows,
  };
}

const kindText = { personal: 'own model', global: 'global model' } as const;
const quantity = {
  loss: 'loss',
  tokenAccuracy: 'token accuracy',
  exactMatch: 'exact match',
  rougeL: 'ROUGE-L',
} as const;

/** What is compared, e.g. `loss of each client's own model`. */
export const comparisonName = ({ model, metric }: Comparison): string =>
  model === 'personal'
    ? `${quantity[metric]} of each client’s ${kindText.personal}`
    : `${quantity[metric]} of the ${kindText.global}`;

/** The sweep's main result in one line. */
export function headline(analysis: SweepAnalysis): string {
  const main = analysis.comparisons.find(({ metric, differences }) => metric === 'loss' && differences.length > 0);
  if (!main) return `Nothing to compare with ${analysis.baseline} yet`;
  const count = (verdict: Verdict) => main.differences.filter((one) => one.verdict === verdict).length;
  const [better, worse, undecided] = [count('better'), count('worse'), count('undecided')];
  const rest = main.differences.length - better - worse - undecided;
  const parts = [
    better > 0 && `${better} better`,
    worse > 0 && `${worse} worse`,
    undecided > 0 && `${undecided} that cannot be told apart`,
    rest > 0 && `${rest} without enough seeds for a claim`,
  ].filter((part) => part !== false);
  return `Against ${analysis.baseline}, of ${main.differences.length} arms: ${parts.join(', ')}`;
}

/** One plain sentence per arm and kind of model on the loss, in the sweep's order. */
export const sentences = (analysis: SweepAnalysis): string[] =>
  analysis.comparisons
    .filter(({ metric }) => metric === 'loss')
    .flatMap((comparison) => comparison.differences.map((one) => sentence(one, comparison, analysis.baseline)));

function sentence(one: Difference, comparison: Comparison, baseline: string): string {
  const { label, mean, overSeeds, holm, verdict, seeds } = one;
  const what = comparisonName(comparison);
  const by = `${loss(Math.abs(mean))} ${mean < 0 ? 'below' : 'above'} ${baseline}’s`;
  const range = `95 % interval over ${seeds.length} seeds ${interval('loss', overSeeds)}`;
  if (verdict === 'unmeasured')
    return `${label}: ${what} is ${by} with one seed; there is no interval, and nothing follows from it.`;
  if (verdict === 'descriptive')
    return `${label}: ${what} is ${by} (${range}). With ${seeds.length} seeds this is descriptive: it says what was seen, not what would be seen again.`;
  if (verdict !== 'undecided')
    return `${label} is ${verdict} than ${baseline}: ${what} is ${by} (${range}, p = ${pText(holm)} after Holm).`;
  const excludes = overSeeds!.low > 0 || overSeeds!.high < 0;
  return `${label} cannot be told apart from ${baseline}: the difference in ${what} is ${signed('loss', mean)} (${range}, p = ${pText(holm)} after Holm)${
    excludes ? '. By itself the interval leaves out 0, but with so many arms compared one such is likely by chance' : ''
  }.`;
}

/** The end of `fedlora sweep` in a terminal: the headline, then a table per kind of model that was compared on the loss. */
export function sweepText(results: SweepResults): string {
  const analysis = analyseSweep(results);
  const tables = analysis.comparisons
    .filter(({ metric }) => metric === 'loss')
    .map((one) => `${comparisonName(one)}\n${toText(comparisonTable(one, analysis.baseline))}`);
  return [headline(analysis), ...tables].join('\n\n');
}
