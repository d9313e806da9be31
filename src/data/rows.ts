import { UserError } from '../errors.ts';
import type { Example } from './types.ts';

/** A JSON object as parsed. Read it with `field`, so that `__proto__` or `constructor` are names like any other. */
export type Row = Readonly<Record<string, unknown>>;

/** What became of a row. Dropped rows are counted by reason. */
export type Parsed = { readonly example: Example } | { readonly drop: string; readonly id: string };

/** A data set in memory, before any template. */
export interface Dataset {
  readonly examples: readonly Example[];
  /** Each example's row in the data set, from 0, dropped rows counted. */
  readonly indexes: readonly number[];
  /** Rows read, dropped ones included. */
  readonly rows: number;
  readonly dropped: ReadonlyMap<string, number>;
  /** Ids of rows that are in the data but were left out. */
  readonly droppedIds: ReadonlySet<string>;
}

export const isRow = (value: unknown): value is Row =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** A field of the row itself, never an inherited one. */
export const field = (row: Row, name: string): unknown => (Object.hasOwn(row, name) ? row[name] : undefined);

/** A value in words, for messages. */
export function kindOf(value: unknown): string {
  if (value === undefined) return 'nothing';
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'a list';
  return typeof value === 'object' ? 'an object' : `a ${typeof value}`;
}

/** JSON, or a UserError with `where` and, in texts of several lines, the line. */
export function parseJson(text: string, where: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    const line = text.trimEnd().includes('\n') ? `, line ${text.slice(0, faultOf(text)).split('\n').length}` : '';
    throw new UserError(`${where}${line}: not valid JSON (${(error as Error).message})`, { cause: error });
  }
}

/** Where malformed JSON goes wrong: the longest beginning that could still become JSON. V8's messages do not always say. */
function faultOf(text: string): number {
  const couldGoOn = (length: number): boolean => {
    try {
      JSON.parse(text.slice(0, length));
      return true;
    } catch (error) {
      const { message } = error as Error;
      const position = /position (\d+)/.exec(message)?.[1];
      return /end of JSON input|Unterminated/.test(message) || Number(position) >= length;
    }
  };
  let good = 0;
  let bad = text.length + 1;
  while (bad - good > 1) {
    const middle = Math.floor((good + bad) / 2);
    if (couldGoOn(middle)) good = middle;
    else bad = middle;
  }
  return good;
}

/** One line of JSONL as an object. */
export function parseRow(text: string, where: string): Row {
  const value = parseJson(text, where);
  if (isRow(value)) return value;
  throw new UserError(`${where}: expected one JSON object per line, found ${kindOf(value)}`);
}

/** A scalar as text; undefined for a missing or null field; a UserError for lists and objects. */
export function textOf(value: unknown, name: string, where: string): string | undefined {
  if (value === undefined || value === null) return undefined;
  if (typeof value === 'string') return value;
  if (typeof value === 'number' || typeof value === 'boolean') return String(value);
  throw new UserError(`${where}: "${name}" must be a text, found ${kindOf(value)}`);
}

/** A text that must be there; the error lists the fields that are. */
export function requiredText(row: Row, name: string, where: string, hint = ''): string {
  const text = textOf(field(row, name), name, where);
  if (text !== undefined) return text;
  const missing = Object.hasOwn(row, name) ? `"${name}" is null` : `no field "${name}"`;
  throw new UserError(`${where}: ${missing} (fields: ${Object.keys(row).slice(0, 20).join(', ') || 'none'})${hint}`);
}

/** All scalar fields but the named ones, as columns. */
export function columnsOf(row: Row, except: ReadonlySet<string>): Readonly<Record<string, string>> {
  const columns: [string, string][] = [];
  for (const [name, value] of Object.entries(row)) {
    if (except.has(name)) continue;
    if (typeof value === 'string') columns.push([name, value]);
    else if (typeof value === 'number' || typeof value === 'boolean') columns.push([name, String(value)]);
  }
  // fromEntries defines own properties, so a column named __proto__ stays a column.
  return Object.fromEntries(columns);
}

/** An example's value in a column, if it has that column. */
export const columnOf = (example: Example, column: string): string | undefined =>
  Object.hasOwn(example.columns, column) ? example.columns[column] : undefined;

/** An example of one instruction with an optional input, as Dolly, Alpaca and Natural Instructions have them. */
export function instructionExample(
  id: string,
  instruction: string,
  input: string,
  references: readonly string[],
  columns: Readonly<Record<string, string>>,
): Parsed {
  const usable = references.filter((reference) => reference.trim() !== '');
  const first = usable[0];
  if (first === undefined) return { drop: 'empty response', id };
  const prompt = [instruction, input].filter((part) => part.trim() !== '').join('\n\n');
  return {
    example: {
      id,
      messages: [
        { role: 'user', content: prompt },
        { role: 'assistant', content: first },
      ],
      references: usable,
      columns,
      ...(input.trim() !== '' && { parts: { instruction, input } }),
    },
  };
}

/** Adds to a count by reason. */
export function count(counts: Map<string, number>, reason: string, by = 1): void {
  if (by > 0) counts.set(reason, (counts.get(reason) ?? 0) + by);
}

/** Gathers parsed rows to a data set; an id that comes twice is a UserError. */
export function gather(): { add(parsed: Parsed, where: string): void; done(where: string): Dataset } {
  const examples: Example[] = [];
  const indexes: number[] = [];
  const dropped = new Map<string, number>();
  const droppedIds = new Set<string>();
  const seen = new Set<string>();
  let rows = 0;
  return {
    add(parsed, where) {
      const index = rows++;
      if ('drop' in parsed) {
        droppedIds.add(parsed.id);
        return count(dropped, parsed.drop);
      }
      if (seen.has(parsed.example.id))
        throw new UserError(`${where}: the id "${parsed.example.id}" is that of an earlier row; ids must be unique`);
      seen.add(parsed.example.id);
      examples.push(parsed.example);
      indexes.push(index);
    },
    done(where) {
      if (rows === 0) throw new UserError(`${where}: no rows`);
      if (examples.length === 0)
        throw new UserError(
          `${where}: none of the ${rows} rows can be used (${[...dropped].map(([reason, n]) => `${n} × ${reason}`).join(', ')})`,
        );
      return { examples, indexes, rows, dropped, droppedIds };
    },
  };
}
