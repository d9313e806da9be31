import { UserError } from '../errors.ts';

export const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** A value from a file, shortened for a message; a deeply nested one can be too much for JSON.stringify. */
export function show(value: unknown): string {
  try {
    return (JSON.stringify(value) ?? String(value)).slice(0, 80);
  } catch {
    return `a deeply nested ${typeof value}`;
  }
}

/** Throws UserError naming the file where the text is not JSON. */
export function parseJson(text: string, where: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch (error) {
    throw new UserError(`${where}: not JSON: ${(error as Error).message}`, { cause: error });
  }
}

/**
 * The first key that an object in a JSON text has twice, or undefined. `text` must be valid JSON: JSON.parse keeps the last of
 * two equal keys without a word, which in a file from elsewhere can hide what another reader would see.
 */
export function duplicateKey(text: string): string | undefined {
  const open: (Set<string> | undefined)[] = [];
  const token = /"(?:[^"\\]|\\.)*"(\s*:)?|[{}[\]]/gsu;
  for (let match = token.exec(text); match !== null; match = token.exec(text)) {
    const [whole, colon] = match;
    if (whole === '{') open.push(new Set());
    else if (whole === '[') open.push(undefined);
    else if (whole === '}' || whole === ']') open.pop();
    else if (colon !== undefined) {
      const key = JSON.parse(whole.slice(0, whole.length - colon.length)) as string;
      const seen = open.at(-1);
      if (seen?.has(key) === true) return key;
      seen?.add(key);
    }
  }
  return undefined;
}
