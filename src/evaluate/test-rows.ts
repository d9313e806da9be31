import type { ClientData, Example, TokenRow } from '../data/types.ts';
import { stream } from '../tensor/random.ts';

/** A prompt in tokens, and the answers that count as right. */
export interface Question {
  readonly prompt: Int32Array;
  readonly references: readonly string[];
}

/** `count` of the items in their own order, drawn by the run's seed and the names; all where there are no more. */
function drawSome<T>(items: readonly T[], count: number, seed: number, ...names: string[]): readonly T[] {
  if (items.length <= count) return items;
  const indices = items.map((_, i) => i);
  const drawn = stream(seed, 'evaluate', ...names).sample(indices, count);
  return drawn.toSorted((a, b) => a - b).map((i) => items[i]!);
}

/** The test rows of a client that are scored. */
export const testRows = (client: ClientData, seed: number, limit?: number): readonly TokenRow[] =>
  limit === undefined ? client.test : drawSome(client.test, limit, seed, 'rows', client.id);

/** What precedes the row's last response: all tokens up to its last run of labelled ones. Undefined where nothing precedes it. */
function promptOf(row: TokenRow): Int32Array | undefined {
  let start = row.ids.length;
  while (start > 0 && row.labelled[start - 1] === 0) start--;
  while (start > 0 && row.labelled[start - 1] !== 0) start--;
  return start > 0 ? row.ids.subarray(0, start) : undefined;
}

/** The questions a client's models answer: `count` of the rows, with the references of the example each row was made from. */
export function questions(client: ClientData, rows: readonly TokenRow[], count: number, seed: number): Question[] {
  const examples = new Map<string, Example>(client.testExamples.map((example) => [example.id, example]));
  const answerable = rows.flatMap((row) => {
    const prompt = promptOf(row);
    if (prompt === undefined) return [];
    const example = examples.get(row.id);
    if (example === undefined) throw new Error(`Client ${client.id}: no example for test row ${row.id}.`);
    return [{ prompt, references: example.references }];
  });
  return [...drawSome(answerable, count, seed, 'generate', client.id)];
}
