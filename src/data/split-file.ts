import { UserError } from '../errors.ts';
import { field, isRow, kindOf, type Dataset } from './rows.ts';

interface Assigned {
  readonly clients: Map<string, number[]>;
  readonly heldOut: readonly number[];
}

/**
 * Who holds which rows, from parsed JSON: `{ clients: { name: rows }, test?: rows }`, or just `{ name: rows }`.
 * `rows` is a half-open range [from, to] of row indexes where every entry of the file is such a pair, else a list of row
 * indexes; or a list of ids (texts). Row indexes count from 0 and include rows that reading dropped; those are passed over.
 * Two-row lists are told from ranges by the whole file: it holds ranges if all its entries are rising pairs.
 * Throws UserError for unknown rows and for rows that two clients (or a client and `test`) claim.
 */
export function assignByFile(data: Dataset, content: unknown, name: string): Assigned {
  if (!isRow(content)) throw new UserError(`${name}: expected {client: rows}, found ${kindOf(content)}`);
  const nested = field(content, 'clients');
  const lists = isRow(nested) ? nested : content;
  const test = isRow(nested) ? field(content, 'test') : undefined;
  const entries = Object.keys(lists).map((client): [string, unknown[]] => [
    client,
    list(field(lists, client), client, name),
  ]);
  if (entries.length === 0) throw new UserError(`${name}: names no client`);
  const find = finder(data, name);
  const owner = new Map<number, string>();

  function claim(rows: readonly (number | string)[], who: string): number[] {
    const positions: number[] = [];
    for (const row of rows) {
      const position = find(row, who);
      if (position === undefined) continue;
      const other = owner.get(position);
      if (other !== undefined)
        throw new UserError(
          `${name}: row ${JSON.stringify(row)} is given to both ${other} and ${who}; a row has one owner`,
        );
      owner.set(position, who);
      positions.push(position);
    }
    return positions.sort((a, b) => a - b);
  }

  const ranges = entries.every(([, rows]) => isPair(rows));
  const clients = new Map(entries.map(([client, rows]) => [client, claim(expand(rows, ranges), `client "${client}"`)]));
  if (test === undefined) return { clients, heldOut: [] };
  const held = list(test, 'test', name);
  // The published split files give test as a range beside clients of either form.
  return { clients, heldOut: claim(expand(held, isPair(held)), '"test"') };
}

const isIndex = (value: unknown): value is number =>
  typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;

const isPair = (rows: readonly unknown[]): boolean =>
  rows.length === 2 && isIndex(rows[0]) && isIndex(rows[1]) && rows[0] < rows[1];

function list(value: unknown, who: string, name: string): (number | string)[] {
  if (Array.isArray(value) && value.every((row) => isIndex(row) || typeof row === 'string')) return value;
  throw new UserError(
    `${name}: "${who}" must be a list of row indexes, of ids, or a range [from, to]; found ${kindOf(value)}`,
  );
}

function expand(rows: readonly unknown[], range: boolean): (number | string)[] {
  if (!range) return rows as (number | string)[];
  const [from, to] = rows as [number, number];
  return Array.from({ length: to - from }, (_, i) => from + i);
}

/** Position of a row index or id; undefined for rows that reading dropped. */
function finder(data: Dataset, name: string) {
  const byIndex = new Map(data.indexes.map((index, position) => [index, position]));
  const byId = new Map(data.examples.map(({ id }, position) => [id, position]));
  return (row: number | string, who: string): number | undefined => {
    const position = typeof row === 'number' ? byIndex.get(row) : byId.get(row);
    const known = typeof row === 'number' ? row < data.rows : data.droppedIds.has(row);
    if (position === undefined && !known)
      throw new UserError(
        `${name}: ${who} names row ${JSON.stringify(row)}, which is not in the data (${data.rows} rows); is the split file for other data?`,
      );
    return position;
  };
}
