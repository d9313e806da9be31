import { UserError } from '../errors.ts';

/**
 * The value of the first pattern that matches a module's path, as PEFT reads rank_pattern and alpha_pattern: a regular
 * expression for the whole path or for what follows one of its dots. Undefined where none matches.
 */
export function patternFor(patterns: Readonly<Record<string, number>>, module: string): number | undefined {
  for (const [pattern, value] of Object.entries(patterns)) if (compile(pattern).test(module)) return value;
  return undefined;
}

const compiled = new Map<string, RegExp>();

function compile(pattern: string): RegExp {
  const known = compiled.get(pattern);
  if (known !== undefined) return known;
  // Adapter folders come from strangers: what could run for ever on a path (repeated groups, many repeats) is refused.
  if (pattern.length > 500 || /\)\s*[*+{]/.test(pattern) || (pattern.match(/[*+{]/g) ?? []).length > 4) {
    throw new UserError(
      `the module pattern "${pattern.slice(0, 100)}" is too complicated: use the end of a module's path`,
    );
  }
  let expression: RegExp;
  try {
    expression = new RegExp(`^(?:.*\\.)?(?:${pattern})$`);
  } catch (cause) {
    throw new UserError(`the module pattern "${pattern}" is not a regular expression: use the end of a module's path`, {
      cause,
    });
  }
  if (compiled.size >= 1000) compiled.clear();
  compiled.set(pattern, expression);
  return expression;
}
