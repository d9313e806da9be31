import { UserError } from '../errors.ts';

/** Takes another value of a flag that may be repeated. */
export const collect = (value: string, before: readonly string[]): readonly string[] => [...before, value];

/** A number out of a flag; throws UserError where it is none or out of bounds. */
export function numberFlag(
  flag: string,
  text: string,
  bounds: { readonly least: number; readonly most?: number; readonly whole?: boolean },
): number {
  const value = text.trim() === '' ? NaN : Number(text);
  const { least, most = Infinity, whole = false } = bounds;
  if (value >= least && value <= most && (!whole || Number.isSafeInteger(value))) return value;
  const kind = whole ? 'a whole number' : 'a number';
  throw new UserError(
    `${flag}: expected ${kind} of at least ${least}${most < Infinity ? ` and at most ${most}` : ''}, got ${text}`,
  );
}
