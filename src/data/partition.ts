import { UserError } from '../errors.ts';
import { stream } from '../tensor/random.ts';
import { classOverClients, mixPerClient } from './dirichlet.ts';
import type { ClientsConfig } from './settings.ts';
import { columnOf, count, type Dataset } from './rows.ts';
import { assignByFile } from './split-file.ts';

/** Positions in a data set's examples, by client. */
export type Shares = ReadonlyMap<string, readonly number[]>;

export interface Partition {
  /** In sorted order of ids. */
  readonly clients: Shares;
  /** The split file's own test rows. */
  readonly heldOut: readonly number[];
  /** Rows in no client, by reason. */
  readonly dropped: ReadonlyMap<string, number>;
  /** In words, for reports. */
  readonly description: string;
  /** Column to count by; empty where the data have none. */
  readonly column: string;
}

/** Plain order of code units: the same on every machine. */
const inOrder = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/** `client-007`: numbered names that sort as numbers. */
export function numbered(n: number): string[] {
  const width = String(n - 1).length;
  return Array.from({ length: n }, (_, k) => `client-${String(k).padStart(width, '0')}`);
}

/**
 * Deals rows to clients; pure in data, settings, `seed` and, for `file`, the file's parsed content.
 * Rows keep their order within a client.
 * Throws UserError for a column that no row has, settings that are missing, and Dirichlet draws that stay below the minimum.
 */
export function partition(
  data: Dataset,
  config: ClientsConfig,
  seed: number,
  file?: { readonly content: unknown; readonly name: string },
): Partition {
  const dropped = new Map<string, number>();
  const done = (clients: Shares, description: string, column: string, heldOut: readonly number[] = []): Partition => ({
    clients: new Map([...clients].sort(([a], [b]) => inOrder(a, b))),
    heldOut,
    dropped,
    description,
    column,
  });
  switch (config.partition) {
    case 'category':
    case 'task':
    case 'column': {
      const column = config.partition === 'column' ? needed(config.column, 'column', 'column') : config.partition;
      const groups = groupBy(data, column, dropped);
      return done(largest(groups, config.count, dropped), `by ${column}`, column);
    }
    case 'iid': {
      const column = config.column ?? usualColumn(data);
      const names = clientNames(config, data.examples.length);
      const shuffled = stream(seed, 'data', 'iid').shuffle([...data.examples.keys()]);
      const shares = names.map((name): [string, number[]] => [name, []]);
      shuffled.forEach((position, i) => shares[i % names.length]![1].push(position));
      for (const [, rows] of shares) rows.sort((a, b) => a - b);
      return done(new Map(shares), `iid over ${names.length} clients`, column);
    }
    case 'dirichlet': {
      const column = config.column ?? 'category';
      const alpha = needed(config.alpha, 'alpha', 'dirichlet');
      if (!(alpha > 0)) throw new UserError(`clients.alpha must be above 0, not ${alpha}`);
      const names = clientNames(config, data.examples.length);
      const convention = config.convention ?? 'class-over-clients';
      const groups = groupBy(data, column, dropped);
      const classes = [...groups.values()];
      const settings = { alpha, clients: names.length, minimum: minimumOf(config), retries: config.retries ?? 10 };
      const shares =
        convention === 'class-over-clients'
          ? classOverClients(classes, { ...settings, balance: config.balance ?? false }, seed)
          : mixPerClient(classes, settings, seed);
      const clients = new Map(names.map((name, k) => [name, shares[k]!.sort((a, b) => a - b)]));
      return done(clients, `dirichlet(${alpha}) over ${column}, ${convention}`, column);
    }
    case 'file': {
      if (file === undefined)
        throw new UserError('clients.partition: file needs clients.file, the JSON file that says which rows are whose');
      const { clients, heldOut } = assignByFile(data, file.content, file.name);
      const used = heldOut.length + [...clients.values()].reduce((sum, rows) => sum + rows.length, 0);
      count(dropped, 'in no client of the split file', data.examples.length - used);
      return done(clients, `file ${file.name}`, config.column ?? usualColumn(data), heldOut);
    }
  }
}

/** Fewest rows of a client before its split. */
export const minimumOf = (config: ClientsConfig): number =>
  config.minimum ?? (config.partition === 'dirichlet' ? 10 : 1);

function needed<T>(value: T | undefined, key: string, partition: string): T {
  if (value === undefined) throw new UserError(`clients.partition: ${partition} needs clients.${key}`);
  return value;
}

function clientNames(config: ClientsConfig, rows: number): string[] {
  const n = needed(config.count, 'count', config.partition);
  if (!Number.isSafeInteger(n) || n < 1)
    throw new UserError(`clients.count must be a whole number of at least 1, not ${n}`);
  if (n > rows) throw new UserError(`clients.count is ${n}, but there are only ${rows} rows to deal`);
  return numbered(n);
}

/** The column to count by where the partition names none. */
function usualColumn(data: Dataset): string {
  const first = data.examples[0];
  return ['category', 'task'].find((name) => first !== undefined && Object.hasOwn(first.columns, name)) ?? '';
}

/** Positions by value of a column, values in sorted order; rows without a value are counted. */
function groupBy(data: Dataset, column: string, dropped: Map<string, number>): Map<string, number[]> {
  const groups = new Map<string, number[]>();
  let without = 0;
  data.examples.forEach((example, i) => {
    const value = columnOf(example, column)?.trim();
    if (value === undefined || value === '') {
      without++;
      return;
    }
    const group = groups.get(value);
    if (group) group.push(i);
    else groups.set(value, [i]);
  });
  if (groups.size === 0) {
    const names = new Set(data.examples.slice(0, 1000).flatMap(({ columns }) => Object.keys(columns)));
    throw new UserError(
      `clients: no row has a value in column "${column}"; the data have the columns: ${[...names].join(', ') || 'none'}`,
    );
  }
  count(dropped, `no value in column "${column}"`, without);
  return new Map([...groups].sort(([a], [b]) => inOrder(a, b)));
}

/** The `n` groups with most rows, ties by name. */
function largest(groups: Shares, n: number | undefined, dropped: Map<string, number>): Shares {
  if (n === undefined || n === groups.size) return groups;
  if (n > groups.size) throw new UserError(`clients.count is ${n}, but the column has only ${groups.size} values`);
  const sorted = [...groups].sort(([a, x], [b, y]) => y.length - x.length || inOrder(a, b));
  for (const [, rows] of sorted.slice(n)) count(dropped, `not among the ${n} largest clients`, rows.length);
  return new Map(sorted.slice(0, n));
}
