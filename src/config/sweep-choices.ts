import type { KeyPath } from './expected.ts';
import { isSection } from './merge.ts';
import type { Problem } from './problems.ts';
import { sameForAll, type ArmEntry, type SweepFile } from './sweep-schema.ts';

/** More combinations than this in one `grid`, or one step of a `tune`, are a slip. */
const mostCombinations = 1000;

type Values = Readonly<Record<string, unknown>>;

/** What is wrong in the keys and values of `grid` and `tune`, before any of them is put into an arm. */
export const choiceProblems = ({ arms }: Pick<SweepFile, 'arms'>): Problem[] =>
  arms.flatMap((entry, i) => [
    ...(entry.grid === undefined ? [] : ofMap(entry.grid, ['arms', i, 'grid'])),
    ...tuneSteps(entry, i).flatMap(({ values, at }) => [...ofMap(values, at), ...ofTries(values, at)]),
  ]);

function tuneSteps({ tune = [] }: ArmEntry, i: number): { readonly values: Values; readonly at: KeyPath }[] {
  const at = ['arms', i, 'tune'];
  return Array.isArray(tune) ? tune.map((values, step) => ({ values, at: [...at, step] })) : [{ values: tune, at }];
}

function ofMap(map: Values, at: KeyPath): Problem[] {
  const problems = Object.entries(map).flatMap(([key, values]): Problem[] => {
    const message = ofKey(key, values);
    return message === undefined ? [] : [{ path: [...at, key], at: 'key', message }];
  });
  const count = Object.values(map).reduce<number>((product, values) => product * valuesOf(values).length, 1);
  if (count <= mostCombinations) return problems;
  const message = `more than ${mostCombinations} combinations of values: take some away, or tune one key after the other`;
  return [...problems, { path: at, at: 'value', message }];
}

/** A try that stands twice would count against the others' tries without being one. */
const ofTries = (map: Values, at: KeyPath): Problem[] =>
  Object.entries(map).flatMap(([key, values]): Problem[] => {
    const texts = valuesOf(values).map((value) => JSON.stringify(value));
    const twice = texts.find((text, i) => texts.indexOf(text) < i);
    return twice === undefined
      ? []
      : [{ path: [...at, key], at: 'value', message: `${twice} stands twice, and counts as one try: remove one` }];
  });

function ofKey(key: string, values: unknown): string | undefined {
  const [first, section] = key.split('.');
  if (first === 'label' || first === 'grid' || first === 'tune')
    return `\`${first}\` is no option of a method: give one of those, or a key of the run as \`run.train.rate\``;
  if (first !== 'run') return undefined;
  const sections =
    section === undefined
      ? valuesOf(values).flatMap((value) => (isSection(value) ? Object.keys(value) : []))
      : [section];
  const fixed = sections.find((name) => sameForAll.includes(name));
  return fixed === undefined
    ? undefined
    : `\`${fixed}\` is the same for all arms, or nothing could be compared: set it in the base`;
}

const valuesOf = (values: unknown): readonly unknown[] =>
  Array.isArray(values) ? values : Object.values(values as object);
