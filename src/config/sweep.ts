import { z } from 'zod';
import { unfold, withChoices, type Choice, type UnfoldedArm } from './arms.ts';
import { mistakes, problemsOf, type KnownMethods, type Locate } from './check.ts';
import type { KeyPath } from './expected.ts';
import { putOver, withValue } from './merge.ts';
import { paths } from './parse.ts';
import { pathName, toProblems, valueAt, type Problem } from './problems.ts';
import type { RunConfig } from './schema.ts';
import { didYouMean } from './suggest.ts';
import { choiceProblems } from './sweep-choices.ts';
import { sweepSchema, type SweepFile } from './sweep-schema.ts';

/** Something that a user gave, where its parts stand, and what its paths mean. */
export interface Given {
  readonly value: unknown;
  readonly locate: Locate;
  /** Makes a path of it absolute. */
  readonly resolve: (path: string) => string;
}

/** A sweep that has been checked: every run that it may do is a valid configuration. */
export interface Sweep {
  readonly seeds: readonly number[];
  readonly baseline: string;
  readonly tuning?: NonNullable<SweepFile['tuning']>;
  readonly arms: readonly UnfoldedArm[];
  /** The configuration of an arm's run, with tuned values put in. */
  readonly config: (arm: UnfoldedArm, seed: number, chosen?: readonly Choice[]) => RunConfig;
  /** The keys of the run that an arm puts over the base, as they were given. */
  readonly differs: (arm: UnfoldedArm, chosen: readonly Choice[]) => Readonly<Record<string, unknown>>;
}

/** Tries that an arm's tuning takes. */
export const triesOf = ({ tune }: UnfoldedArm): number => tune.reduce((sum, step) => sum + step.length, 0);

/** Checks a sweep and every run in it. `base`: what the sweep's `base` names, or undefined where it holds the configuration itself. */
export function checkSweep(sweep: Given, base: Given | undefined, methods: KnownMethods): Sweep {
  const parsed = sweepSchema.safeParse(sweep.value);
  if (!parsed.success) {
    const schema = z.toJSONSchema(sweepSchema, { io: 'input', unrepresentable: 'any' });
    throw mistakes(toProblems(parsed.error.issues, schema, sweep.value), sweep.locate);
  }
  const file = parsed.data;
  const impossible = choiceProblems(file);
  if (impossible.length > 0) throw mistakes(impossible, sweep.locate);
  const arms = file.arms.flatMap(unfold);
  const merged = merger(file, base ?? { value: file.base, resolve: sweep.resolve }, sweep.resolve);
  const found = new Map<string, { readonly problem: Problem; readonly locate: Locate }>();
  const note = (problem: Problem, locate: Locate): void =>
    void found.set(JSON.stringify([problem, locate === sweep.locate]), { problem, locate });
  // Told first, whatever the line.
  const inBase: Locate = (problem) => ({ ...base!.locate(problem), order: -1 });
  for (const problem of ownProblems(file, arms)) note(problem, sweep.locate);
  const oneModel = ofOneModel(base?.value ?? file.base, base === undefined ? ['base'] : []);
  if (oneModel !== undefined) note(oneModel, base === undefined ? sweep.locate : inBase);
  for (const arm of arms) {
    for (const chosen of tried(arm)) {
      const { problems } = problemsOf(merged(arm, file.seeds[0]!, chosen), methods);
      for (const problem of problems) {
        const at = inSweep(problem, file, arm, chosen, base === undefined);
        if (at === undefined) note(problem, inBase);
        else note({ ...problem, path: at }, sweep.locate);
      }
    }
  }
  if (found.size > 0) {
    const places = new Map([...found.values()].map(({ problem, locate }) => [problem, locate]));
    throw mistakes([...places.keys()], (problem) => places.get(problem)!(problem));
  }
  return {
    seeds: file.seeds,
    baseline: file.baseline,
    ...(file.tuning && { tuning: file.tuning }),
    arms,
    config(arm, seed, chosen = []) {
      const { config, problems } = problemsOf(merged(arm, seed, chosen), methods);
      // Values that are right one by one, and tuned one after the other, may still not go together.
      if (config === undefined)
        throw mistakes(problems, ({ path }) => ({ text: `${arm.label}: ${pathName(path)}`, order: 0 }));
      return config;
    },
    differs: (arm, chosen) => withChoices(file.arms[arm.index]!, [...arm.choices, ...chosen]).run ?? {},
  };
}

/** Combinations that show every tuned value once. */
function tried({ tune }: UnfoldedArm): Choice[][] {
  const first = tune.map((step) => step[0]!);
  const others = tune.flatMap((step, i) =>
    step.map((one) => [...first.slice(0, i), one, ...first.slice(i + 1)].flat()),
  );
  return others.length === 0 ? [[]] : others;
}

type Merge = (arm: UnfoldedArm, seed: number, chosen: readonly Choice[]) => unknown;

/** The configuration of a run as a person would have written it. */
function merger(file: SweepFile, base: Pick<Given, 'value' | 'resolve'>, resolve: Given['resolve']): Merge {
  const under = putOver(eachPath(base.value, base.resolve), { evaluate: file.evaluate ?? {} });
  return (arm, seed, chosen) => {
    const entry = withChoices(file.arms[arm.index]!, [...arm.choices, ...chosen]);
    const { run = {}, grid: _grid, tune: _tune, ...method } = entry;
    const merged = putOver(under, eachPath(run, resolve)) as Record<string, unknown>;
    return ofSeed({ ...merged, methods: [{ ...method, label: arm.label }], seed }, seed);
  };
}

/** `{seed}` in a path is the run's seed: data of its own for each. */
const ofSeed = (config: unknown, seed: number): unknown =>
  eachPath(config, (path) => path.replaceAll('{seed}', String(seed)));

const eachPath = (section: unknown, change: (path: string) => string): unknown =>
  paths.reduce((all, path) => {
    const value = valueAt(all, path);
    return typeof value === 'string' ? withValue(all, path, change(value)) : all;
  }, section);

/** `{seed}` is for data: under a base model of its own each seed would be another experiment. */
function ofOneModel(base: unknown, at: KeyPath): Problem | undefined {
  const path = valueAt(base, ['model', 'path']);
  if (typeof path !== 'string' || !path.includes('{seed}')) return undefined;
  return {
    path: [...at, 'model', 'path'],
    at: 'value',
    message: 'one model is the base of every run: `{seed}` belongs in paths of data',
  };
}

/** What a schema of single keys cannot say. */
function ownProblems(file: SweepFile, arms: readonly UnfoldedArm[]): Problem[] {
  const problems: Problem[] = [];
  const wrong = (path: KeyPath, message: string): void => void problems.push({ path, at: 'value', message });
  const labels = new Set<string>();
  for (const { label, index } of arms) {
    if (labels.has(label.toLowerCase()))
      wrong(['arms', index], `another arm is already called \`${label}\`: give this one a \`label\` of its own`);
    labels.add(label.toLowerCase());
  }
  const known = arms.map(({ label }) => label);
  if (!known.includes(file.baseline))
    wrong(['baseline'], `there is no arm called \`${file.baseline}\`${didYouMean(file.baseline, known)}`);
  for (const [key, seeds] of [
    [['seeds'], file.seeds],
    [['tuning', 'seeds'], file.tuning?.seeds ?? []],
  ] as const) {
    const twice = seeds.find((seed, i) => seeds.indexOf(seed) < i);
    if (twice !== undefined) wrong(key, `seed ${twice} stands twice; a replicate counts once`);
  }
  const tuned = arms.find(({ tune }) => tune.length > 0);
  if (tuned && file.tuning === undefined)
    wrong(['arms', tuned.index, 'tune'], 'needs `tuning: { seeds: […] }`: the seeds whose validation rows decide');
  for (const arm of arms) {
    const most = arms.reduce((a, b) => (triesOf(b) > triesOf(a) ? b : a));
    if (triesOf(arm) < triesOf(most) && file.tuning?.unequal === false)
      wrong(
        ['arms', arm.index],
        `\`${arm.label}\` has ${triesOf(arm)} tries and \`${most.label}\` ${triesOf(most)}: give every arm the same number, or say \`tuning: { unequal: true }\`, which the report then tells`,
      );
  }
  return problems;
}

/** Where in the sweep's file a key of a run stands; undefined where it stands in the base's own file. */
function inSweep(
  { path, at }: Problem,
  file: SweepFile,
  arm: UnfoldedArm,
  chosen: readonly Choice[],
  inline: boolean,
): KeyPath | undefined {
  const ofMethod = path[0] === 'methods' && path[1] === 0;
  const own = ofMethod ? path.slice(2) : path;
  const key = [...(ofMethod ? [] : ['run']), ...own].join('.');
  const choice = [...chosen, ...arm.choices].find((one) => key === one.key || key.startsWith(`${one.key}.`));
  if (choice) return choice.from;
  if (ofMethod) return ['arms', arm.index, ...own];
  const entry = file.arms[arm.index]!;
  const given = (section: unknown): boolean =>
    valueAt(section, path) !== undefined || (at === 'missing' && valueAt(section, path.slice(0, 1)) !== undefined);
  if (given(entry.run)) return ['arms', arm.index, 'run', ...path];
  if (given({ evaluate: file.evaluate })) return path;
  return inline ? ['base', ...path] : undefined;
}
