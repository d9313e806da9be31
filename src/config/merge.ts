import { alternatives } from './parse.ts';
import type { KeyPath } from './expected.ts';
import { valueAt } from './problems.ts';

type Section = Readonly<Record<string, unknown>>;

export const isSection = (value: unknown): value is Section =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** Puts one configuration over another: sections key by key, anything else in place, null takes away (JSON Merge Patch, RFC 7386). */
function mergePatch(under: unknown, over: unknown): unknown {
  if (!isSection(over)) return over;
  const merged: Record<string, unknown> = isSection(under) ? { ...under } : {};
  for (const [key, value] of Object.entries(over)) {
    if (value === null) delete merged[key];
    else merged[key] = mergePatch(merged[key], value);
  }
  return merged;
}

/** As `mergePatch`, for sections of a run: a key takes the place of those that cannot stand beside it, e.g. `train.steps` of `train.epochs`. */
export function putOver(run: unknown, over: unknown): unknown {
  let merged = mergePatch(run, over);
  for (const [key, others] of Object.entries(alternatives)) {
    if (valueAt(over, key.split('.')) === undefined) continue;
    for (const other of others) {
      const path = other.split('.');
      if (valueAt(over, path) === undefined && valueAt(merged, path) !== undefined)
        merged = withValue(merged, path, undefined);
    }
  }
  return merged;
}

/** A copy with a value at a place, sections on the way made; undefined takes the key away. */
export function withValue(section: unknown, [key, ...rest]: KeyPath, value: unknown): Record<string, unknown> {
  const copy: Record<string, unknown> = isSection(section) ? { ...section } : {};
  const name = String(key);
  if (rest.length > 0) copy[name] = withValue(copy[name], rest, value);
  else if (value === undefined) delete copy[name];
  else copy[name] = value;
  return copy;
}
