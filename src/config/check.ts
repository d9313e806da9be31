import { z } from 'zod';
import { UserError } from '../errors.ts';
import { conflicts } from './conflicts.ts';
import type { JsonSchema } from './expected.ts';
import { guardConflicts } from './guard-conflicts.ts';
import { pathName, type Problem, toProblems, valueAt } from './problems.ts';
import { runSchema, type RunConfig } from './schema.ts';
import { didYouMean } from './suggest.ts';

/** The methods that a configuration may name, with the schema of their options. */
export type KnownMethods = ReadonlyMap<string, { readonly options: z.ZodObject }>;

/** Where a problem stands, for people: a file's line, an argument, or nothing where the configuration is a value; told in ascending `order`. */
export type Locate = (problem: Problem) => { readonly text: string; readonly order: number };

/**
 * A configuration with its defaults filled in and every method labelled and with all its options.
 * Throws one UserError with all mistakes, each with its place and what would be right.
 */
export function checkConfig(
  value: unknown,
  methods: KnownMethods,
  locate: Locate = () => ({ text: '', order: 0 }),
): RunConfig {
  const { config, problems } = problemsOf(value, methods);
  if (config === undefined) throw mistakes(problems, locate);
  return config;
}

/** The same with the mistakes as data; `config` is there where there are none. */
export function problemsOf(
  value: unknown,
  methods: KnownMethods,
): { readonly config?: RunConfig; readonly problems: readonly Problem[] } {
  const run = runSchema.safeParse(value);
  const problems = run.success ? [] : toProblems(run.error.issues, z.toJSONSchema(runSchema, { io: 'input' }), value);
  const options = methodOptions(value, methods, problems);
  problems.push(...conflicts(value), ...guardConflicts(value), ...repeatedLabels(value));
  if (problems.length > 0 || !run.success) return { problems };
  const config = {
    ...run.data,
    methods: run.data.methods.map(({ use, label }, i) => ({ ...options[i], use, label: label ?? use })),
  };
  return { config, problems };
}

/** Every method's options as resolved by its own schema; what is wrong goes to `problems`. */
function methodOptions(value: unknown, methods: KnownMethods, problems: Problem[]): Record<string, unknown>[] {
  const list = valueAt(value, ['methods']);
  if (!Array.isArray(list)) return [];
  return list.map((entry: unknown, i) => {
    if (typeof entry !== 'object' || entry === null) return {}; // the run's schema says so
    const { use, label: _label, ...own } = entry as Record<string, unknown>;
    if (typeof use !== 'string') return {};
    const method = methods.get(use);
    const path = ['methods', i];
    if (method === undefined) {
      problems.push({
        path: [...path, 'use'],
        at: 'value',
        message: `unknown method \`${use}\`${didYouMean(use, [...methods.keys()])}`,
      });
      return {};
    }
    const schema = method.options.strict();
    const parsed = schema.safeParse(own);
    if (parsed.success) return parsed.data;
    const json = z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' }) as JsonSchema;
    problems.push(
      ...toProblems(parsed.error.issues, json, own).map((problem) => ({
        ...problem,
        path: [...path, ...problem.path],
        message: ofOthers(use, problem, methods) ?? problem.message,
      })),
    );
    return {};
  });
}

/** What to say of an option that a method lacks and others have, with what it means there. */
function ofOthers(use: string, { path, at }: Problem, methods: KnownMethods): string | undefined {
  const [key] = path;
  if (at !== 'key' || path.length !== 1 || typeof key !== 'string') return undefined;
  const having = [...methods].filter(([, { options }]) => Object.hasOwn(options.shape, key));
  if (having.length === 0) return undefined;
  const means = (having[0]![1].options.shape[key] as z.ZodType).description;
  const names = having.map(([name]) => `\`${name}\``).join(', ');
  return `\`${use}\` has no such option; it goes with ${names}${means === undefined ? '' : `\n      ${means}`}`;
}

/** Labels name folders and table rows, so they must differ, whatever the case (some file systems ignore it). */
function repeatedLabels(value: unknown): Problem[] {
  const list = valueAt(value, ['methods']);
  const seen = new Set<string>();
  const problems: Problem[] = [];
  for (const [i, entry] of (Array.isArray(list) ? list : []).entries()) {
    const name = valueAt(entry, ['label']) ?? valueAt(entry, ['use']);
    if (typeof name !== 'string') continue; // the run's schema says so
    const message = `another method is already called \`${name}\`: give this one a \`label\` of its own`;
    if (seen.has(name.toLowerCase())) problems.push({ path: ['methods', i], at: 'value', message });
    seen.add(name.toLowerCase());
  }
  return problems;
}

/** All mistakes in one error, in the order of their places. */
export function mistakes(problems: readonly Problem[], locate: Locate): UserError {
  const placed = problems.map((problem) => ({ problem, ...locate(problem) })).sort((a, b) => a.order - b.order);
  const told = placed.map(
    ({ problem, text }) => `  ${text === '' ? '' : `${text}: `}${pathName(problem.path)}: ${problem.message}`,
  );
  // A number can break two rules of its schema, which are told in the same words.
  const lines = [...new Set(told)];
  const count = lines.length === 1 ? 'a mistake' : `${lines.length} mistakes`;
  return new UserError(`${count} in the configuration:\n${lines.join('\n')}`);
}
