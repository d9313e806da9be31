import { UserError } from '../errors.ts';
import { stream } from '../tensor/random.ts';
import type { Amount, ClientsConfig } from './settings.ts';

/** A client's rows in three disjoint parts, each in the order of the rows. */
export interface Split<T> {
  readonly train: readonly T[];
  readonly validation: readonly T[];
  readonly test: readonly T[];
}

/** Rows that an amount means of `total`: a share is rounded, and never to none. */
export function amountOf(amount: Amount, total: number, key: string): number {
  if (amount >= 0 && amount < 1) return amount === 0 ? 0 : Math.max(1, Math.round(amount * total));
  if (amount >= 1 && Number.isSafeInteger(amount)) return amount;
  throw new UserError(`${key} must be a share below 1 or a whole number of rows, not ${amount}`);
}

/**
 * Divides a client's rows, drawn by seed and client, independent of other clients. `given`: rows that `splitOf` calls
 * `test` or `validation`, whatever the other amount; they are never trained on. The training part takes what is left, and
 * may come out empty: `lacking` says so.
 */
export function splitRows<T>(
  rows: readonly T[],
  split: ClientsConfig['split'],
  splitOf: (row: T) => string | undefined,
  seed: number,
  client: string,
): Split<T> {
  const parts = new Map<number, 'validation' | 'test'>();
  const free: number[] = [];
  rows.forEach((row, i) => {
    const said = splitOf(row);
    if (said === 'test' && split.test === 'given') parts.set(i, 'test');
    else if (said === 'validation' && split.validation === 'given') parts.set(i, 'validation');
    else free.push(i);
  });
  const shuffled = stream(seed, 'data', 'split', client).shuffle(free);
  for (const part of ['test', 'validation'] as const) {
    const amount = split[part];
    if (amount === 'given') continue;
    const taken = Math.min(amountOf(amount, rows.length, `clients.split.${part}`), shuffled.length);
    for (const i of shuffled.splice(0, taken)) parts.set(i, part);
  }
  const of = (part: string): T[] => rows.filter((_, i) => (parts.get(i) ?? 'train') === part);
  return { train: of('train'), validation: of('validation'), test: of('test') };
}

/** What a client lacks, in words; undefined if nothing. */
export function lacking(split: Split<unknown>, wanted: ClientsConfig['split']): string | undefined {
  if (split.train.length === 0) return 'no training row';
  for (const part of ['test', 'validation'] as const)
    if (wanted[part] !== 0 && split[part].length === 0) return `no ${part} row`;
  return undefined;
}
