import type { KeyPath } from './expected.ts';
import { withValue } from './merge.ts';
import type { ArmEntry } from './sweep-schema.ts';

/** One value that a `grid` or `tune` puts into an arm. */
export interface Choice {
  /** Dotted: an option of the method, or `run.` and a key of the run. */
  readonly key: string;
  readonly value: unknown;
  /** How labels name the value. */
  readonly name: string;
  /** Where it stands in the sweep's file. */
  readonly from: KeyPath;
}

/** An arm with its grid unfolded. */
export interface UnfoldedArm {
  readonly label: string;
  /** Index in the file's `arms`. */
  readonly index: number;
  readonly choices: readonly Choice[];
  /** Tries of each step of its tuning: combinations of values. */
  readonly tune: readonly (readonly (readonly Choice[])[])[];
}

/** The arms of a file's entry: one, or one for each combination of its grid. */
export function unfold(entry: ArmEntry, index: number): UnfoldedArm[] {
  const label = entry.label ?? entry.use;
  const at = ['arms', index];
  const steps = entry.tune === undefined ? [] : Array.isArray(entry.tune) ? entry.tune : [entry.tune];
  const tune = steps.map((step, i) => combinations(step, [...at, 'tune', ...(Array.isArray(entry.tune) ? [i] : [])]));
  if (entry.grid === undefined) return [{ label, index, choices: [], tune }];
  return combinations(entry.grid, [...at, 'grid']).map((choices) => ({
    label: [label, ...choices.map(({ key, name }) => `(${nameOf(key)} ${name})`)].join(' '),
    index,
    choices,
    tune,
  }));
}

/** Every way to take one value of each key, the last key changing fastest. */
function combinations(grid: Readonly<Record<string, unknown>>, at: KeyPath): Choice[][] {
  return Object.entries(grid).reduce<Choice[][]>(
    (all, [key, values]) =>
      all.flatMap((before) => choicesOf(key, values, [...at, key]).map((one) => [...before, one])),
    [[]],
  );
}

function choicesOf(key: string, values: unknown, at: KeyPath): Choice[] {
  if (Array.isArray(values))
    return values.map((value: unknown, i) => ({ key, value, name: textOf(value), from: [...at, i] }));
  return Object.entries(values as object).map(([name, value]) => ({ key, value, name, from: [...at, name] }));
}

/** The last part of a key is what people call it. */
const nameOf = (key: string): string => key.slice(key.lastIndexOf('.') + 1);

/** A value in a label, where only letters, digits and `._+()-` may stand. */
const textOf = (value: unknown): string =>
  (typeof value === 'string' ? value : JSON.stringify(value)).replace(/[^\p{L}\p{N} ._+-]+/gu, ' ').trim();

/** An arm's entry with values put in. */
export const withChoices = (entry: ArmEntry, choices: readonly Choice[]): ArmEntry =>
  choices.reduce<ArmEntry>((all, { key, value }) => withValue(all, key.split('.'), value) as ArmEntry, entry);
