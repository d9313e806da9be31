import { UserError } from '../errors.ts';

/** Takes another value of a flag that may be repeated. */
export const collect = (value: string, before: readonly string[]): readonly string[] => [...before, value];

const sizes = { B: 1, MB: 1e6, GB: 1e9, TB: 1e12 };
const units = {
  '--max-memory': sizes,
  '--max-disk': sizes,
  '--max-time': { s: 1, min: 60, h: 3600 },
} as const;

/** A number above 0 with its unit out of a flag, e.g. `6GB`, `90min`: in bytes, or in seconds. Throws UserError. */
export function amountFlag(flag: keyof typeof units, text: string): number {
  const known: Readonly<Record<string, number>> = units[flag];
  const [, number = '', unit = ''] = /^([0-9.]+) ?([A-Za-z]+)$/.exec(text.trim()) ?? [];
  const value = Number(number) * (known[unit] ?? NaN);
  // A timer takes no more than 2³¹ milliseconds.
  if (value > 0 && value < (flag === '--max-time' ? 2_000_000 : Infinity)) return value;
  throw new UserError(`${flag}: expected a number and a unit (${Object.keys(known).join(', ')}), got ${text}`);
}

/** A number out of a flag; throws UserError where it is none or out of bounds. */
export function numberFlag(
  flag: string,
  text: string,
  bounds: { readonly most?: number; readonly whole?: boolean } & (
    | { readonly least: number; readonly above?: never }
    | { readonly above: number; readonly least?: never }
  ),
): number {
  const value = text.trim() === '' ? NaN : Number(text);
  const { least = -Infinity, above = -Infinity, most = Infinity, whole = false } = bounds;
  if (value >= least && value > above && value <= most && (!whole || Number.isSafeInteger(value))) return value;
  const kind = whole ? 'a whole number' : 'a number';
  throw new UserError(
    `${flag}: expected ${kind} ${bounds.above === undefined ? `of at least ${least}` : `above ${above}`}${most < Infinity ? ` and at most ${most}` : ''}, got ${text}`,
  );
}
