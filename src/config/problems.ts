import type { z } from 'zod';
import { expected, type JsonSchema, keysAt, type KeyPath, schemaAt } from './expected.ts';
import { didYouMean } from './suggest.ts';

/** One mistake in a configuration. `at` says what to point to: the key itself, its value, or the section in which it is missing. */
export interface Problem {
  readonly path: KeyPath;
  readonly at: 'key' | 'value' | 'missing';
  readonly message: string;
}

type Issue = z.core.$ZodIssue;

/** What the schema found, in words that say what would be right. `schema` is the JSON Schema of the same configuration, `value` the input. */
export function toProblems(issues: readonly Issue[], schema: JsonSchema, value: unknown): Problem[] {
  return issues.flatMap(inside).flatMap((issue) => {
    const path = issue.path as KeyPath;
    if (issue.code === 'unrecognized_keys') {
      const known = keysAt(schema, path);
      return issue.keys.map((key): Problem => ({
        path: [...path, key],
        at: 'key',
        message: `unknown key${didYouMean(key, known)}`,
      }));
    }
    const found = valueAt(value, path);
    const wanted = schemaAt(schema, path);
    const purpose = wanted?.description === undefined ? '' : `\n      ${wanted.description}`;
    if (found === undefined) return [{ path, at: 'missing', message: `missing: ${expected(wanted)}${purpose}` }];
    const right = issue.code === 'custom' ? issue.message : expected(wanted);
    const choice = typeof found === 'string' && wanted?.enum !== undefined ? wanted.enum.map(String) : undefined;
    const hint = choice === undefined ? '' : didYouMean(found as string, choice).replace(/^; known: .*/, '');
    return [{ path, at: 'value', message: `expected ${right}, got ${show(found)}${hint}${purpose}` }];
  });
}

/** Of a value that fits no alternative, what is wrong inside the one that it was meant to be, if there is one. */
function inside(issue: Issue): readonly Issue[] {
  if (issue.code !== 'invalid_union') return [issue];
  const meant = issue.errors.find((each) =>
    each.every(({ path, code }) => path.length > 0 || code === 'unrecognized_keys'),
  );
  return meant?.flatMap((each) => inside({ ...each, path: [...issue.path, ...each.path] })) ?? [issue];
}

/** The value at a place of plain data, or undefined. */
export function valueAt(value: unknown, path: KeyPath): unknown {
  let at = value;
  for (const key of path) {
    if (typeof at !== 'object' || at === null || !Object.hasOwn(at, key)) return undefined;
    at = (at as Record<string | number, unknown>)[key];
  }
  return at;
}

/** `methods[0].axis` */
export const pathName = (path: KeyPath): string =>
  path.map((key, i) => (typeof key === 'number' ? `[${key}]` : i === 0 ? key : `.${key}`)).join('') ||
  'the configuration';

/** A value as a person wrote it, shortened. */
function show(value: unknown): string {
  if (value === null) return 'nothing (null)';
  if (Array.isArray(value)) return `a list of ${value.length}`;
  if (typeof value === 'object') return 'a section';
  const text = typeof value === 'number' ? String(value) : JSON.stringify(value);
  return text.length > 60 ? `${text.slice(0, 57)}…` : text;
}
