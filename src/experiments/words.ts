import { bytes, loss, percent, short, whole } from '../report/format.ts';
import type { ArmValues, Comparison, Difference, Metric, SweepAnalysis, Verdict } from './compare-arms.ts';
import type { ArmCurve, StageConvergence } from './convergence.ts';
import { equalWithin, type Equality, type Quantity, type Spread } from './equality.ts';

export const none = '–';

/** A value of a metric: a loss with three decimals, a share in percent. */
const shown = (metric: Metric, value: number): string => (metric === 'loss' ? loss(value) : percent(value));

/** A difference with its sign; of shares, in percentage points. */
export function signed(metric: Metric, value: number): string {
  const digits = metric === 'loss' ? loss(Math.abs(value)) : (100 * Math.abs(value)).toFixed(1);
  // What rounds to nothing has no side.
  return Number(digits) === 0 ? digits : `${value < 0 ? '−' : '+'}${digits}`;
}

/** `1.234 ± 0.010` over seeds, or the value alone with one seed. */
export const spread = (metric: Metric, { mean, sd }: Pick<ArmValues, 'mean' | 'sd'>): string =>
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
export const verdictText = ({ verdict }: Difference): string =>
  ({
    better: 'better',
    worse: 'worse',
    undecided: 'cannot be told apart',
    descriptive: 'descriptive',
    unmeasured: 'one seed: no interval',
  })[verdict];

const quantity = {
  loss: 'loss',
  tokenAccuracy: 'token accuracy',
  exactMatch: 'exact match',
  rougeL: 'ROUGE-L',
} as const;

/** What is compared, e.g. `the loss of each client’s own model`. */
export const comparisonName = ({ model, metric }: Pick<Comparison, 'model' | 'metric'>): string =>
  `the ${quantity[metric]} of ${model === 'personal' ? 'each client’s own model' : 'the global model'}`;

/** The same as a heading. */
export function title(one: Pick<Comparison, 'model' | 'metric'>): string {
  const name = comparisonName(one).slice('the '.length);
  return `${name.slice(0, 1).toUpperCase()}${name.slice(1)}`;
}

/** The comparison that a sweep is about: each client's own model, else the global one, on the loss. */
export const mainComparison = (analysis: SweepAnalysis): Comparison | undefined =>
  analysis.comparisons.find(({ metric, differences }) => metric === 'loss' && differences.length > 0);

/** The sweep's main result in one line. */
export function headline(analysis: SweepAnalysis): string {
  const { baseline } = analysis;
  const main = mainComparison(analysis);
  if (!main) return `Nothing to compare with ${baseline} yet`;
  const all = main.differences.length;
  const arms = all === 1 ? main.differences[0]!.label : `all ${all} other arms`;
  const count = (...verdicts: readonly Verdict[]) =>
    main.differences.filter(({ verdict }) => verdicts.includes(verdict)).length;
  const better = count('better');
  const worse = count('worse');
  const undecided = count('undecided');
  const few = count('descriptive', 'unmeasured');
  if (few === all)
    return `Too few seeds for a claim about ${all === 1 ? arms : `${all} other arms`} against ${baseline}`;
  if (undecided === all)
    return `${all === 1 ? arms : `None of ${all} other arms`} can${all === 1 ? 'not' : ''} be told apart from ${baseline}`;
  if (better === all || worse === all)
    return `${capital(arms)} ${all === 1 ? 'is' : 'are'} ${better === all ? 'better' : 'worse'} than ${baseline}`;
  const parts = [
    better > 0 && `${better} better`,
    worse > 0 && `${worse} worse`,
    undecided > 0 && `${undecided} that cannot be told apart`,
    few > 0 && `${few} with too few seeds`,
  ].filter((part) => part !== false);
  return `Against ${baseline}, of ${all} other arms: ${parts.join(', ')}`;
}

const capital = (text: string): string => (text.startsWith('all ') ? `A${text.slice(1)}` : text);

/** One plain sentence per other arm of a comparison, in the sweep's order. */
export const sentences = (comparison: Comparison, baseline: string): string[] =>
  comparison.differences.map((one) => sentence(one, comparison, baseline));

function sentence(one: Difference, { metric }: Comparison, baseline: string): string {
  const { label, mean, overSeeds, holm, verdict, seeds } = one;
  const size = signed(metric, Math.abs(mean)).replace('+', '');
  const by =
    Number(size) === 0
      ? `to three digits the same as ${baseline}`
      : `${size} ${mean < 0 ? 'below' : 'above'} ${baseline}`;
  const range = `95 % interval over ${seeds.length} seeds ${interval(metric, overSeeds)}`;
  const p = `p ${holm !== undefined && holm < 0.0001 ? '' : '= '}${pText(holm)} after Holm`;
  if (verdict === 'unmeasured')
    return `${label}: ${by} with one seed. There is no interval, and nothing follows from it.`;
  if (verdict === 'descriptive') {
    const zero = overSeeds!.low <= 0 && overSeeds!.high >= 0 ? ' and cannot be told apart from 0' : '';
    return `${label}: ${by} (${range}); with ${seeds.length} seeds this is descriptive${zero}.`;
  }
  if (verdict !== 'undecided') return `${label} is ${verdict} than ${baseline}: ${by} (${range}, ${p}).`;
  const excludes = overSeeds!.low > 0 || overSeeds!.high < 0;
  return `${label} cannot be told apart from ${baseline}: ${by} (${range}, ${p}).${
    excludes
      ? ' The interval alone leaves out 0, but among so many arms that happens by chance too often to be a claim.'
      : ''
  }`;
}

/** A stage's end in words: `federated: converged (last fifth 0.3 % lower)`. */
export function stageText({ stage, points, improvement, progress }: StageConvergence): string {
  if (improvement === undefined) return `${stage}: ${progress} to say (${points})`;
  const change = `last fifth ${percent(Math.abs(improvement))} ${improvement < 0 ? 'higher' : 'lower'}`;
  return `${stage}: ${{ converged: 'converged', falling: 'not converged, still falling', rising: 'not converged, rising', 'too few points': '' }[progress]} (${change})`;
}

/** Whether an arm had converged, in words. */
export const convergedText = ({ converged }: Pick<ArmCurve, 'converged'>): string =>
  converged === undefined ? 'too few rounds to say' : converged ? 'converged' : 'not converged';

const quantityName: Readonly<Record<Quantity, string>> = {
  labelledTokens: 'Work (labelled tokens through forward and backward)',
  up: 'Bytes sent up per client',
  down: 'Bytes received per client',
  tries: 'Tuning budget (values tried)',
  tuningRuns: 'Tuning runs (values × seeds)',
};

const quantityShown = (of: Quantity, value: number): string =>
  of === 'up' || of === 'down' ? bytes(value) : of === 'labelledTokens' ? short(value) : whole(value);

function spreadText({ quantity: of, least, most, equal, untold }: Spread): string {
  const name = quantityName[of];
  if (untold.length > 0) return `${name}: not known for ${untold.join(', ')}, where privacy keeps it at the clients.`;
  if (most.value === 0)
    return of === 'up' || of === 'down' ? `${name}: nothing was sent.` : `${name}: none in any arm.`;
  if (most.value === least.value) return `${name}: the same in every arm.`;
  if (equal) return `${name}: equal to within ${percent(most.value / least.value - 1)}.`;
  const ends = `from ${quantityShown(of, least.value)} (${least.label}) to ${quantityShown(of, most.value)} (${most.label})`;
  return `${name}: not equal, ${ends}.`;
}

/** Plain sentences on what was equal between the arms, and what was not. */
export function equalitySentences({ spreads, differentBase, missing }: Equality): string[] {
  return [
    ...spreads.map(spreadText),
    differentBase.length > 0
      ? `Base model and test rows: not the same for all arms with seed ${differentBase.join(', ')}. Their differences mean nothing.`
      : 'Base model and test rows: the same within every seed (the base model’s scores are equal to the last digit).',
    ...missing.map(({ label, seeds }) => `${label}: no result yet with seed ${seeds.join(', ')}.`),
  ];
}

/** How far arms may differ and still count as equal. */
export const equalityNote = `“Equal” means that the most is at most ${percent(equalWithin, 0)} above the least.`;
