import type { PackedBatch } from '../runtime/engine.ts';
import type { Random } from '../tensor/random.ts';
import type { TokenRow } from './types.ts';

/** Rows one after another without padding; see PackedBatch for the layout. Labels shift here: a token is predicted from the one before it. */
export function pack(rows: readonly TokenRow[]): PackedBatch {
  let tokens = 0;
  let length = 0;
  let wanted = 0;
  for (const { ids, labelled } of rows) {
    tokens += ids.length;
    length = Math.max(length, ids.length);
    for (let i = 1; i < ids.length; i++) wanted += labelled[i]!;
  }
  const batch = {
    rows: rows.length,
    length,
    ids: new Int32Array(tokens),
    positions: new Int32Array(tokens),
    slots: new Int32Array(tokens),
    labelled: new Int32Array(wanted),
    targets: new Int32Array(wanted),
  };
  let at = 0;
  let label = 0;
  rows.forEach(({ ids, labelled }, r) => {
    batch.ids.set(ids, at);
    for (let i = 0; i < ids.length; i++) {
      batch.positions[at + i] = i;
      batch.slots[at + i] = r * length + i;
      if (labelled[i + 1] === 1) {
        batch.labelled[label] = at + i;
        batch.targets[label++] = ids[i + 1]!;
      }
    }
    at += ids.length;
  });
  return batch;
}

/** Tokens of a row that count in the loss. */
export function labelledTokens(row: TokenRow): number {
  let sum = 0;
  for (let i = 1; i < row.labelled.length; i++) sum += row.labelled[i]!;
  return sum;
}

/** Batches that share a window of rows sorted by length: enough for little padding, few enough to stay random. */
const WINDOW = 16;

/**
 * One pass over the rows in batches of similar length, every row exactly once: shuffled, cut into windows of 16 batches,
 * sorted by length inside each, the batches shuffled. ⌈rows / batchSize⌉ batches; one of them may be smaller.
 */
export function epoch(rows: readonly TokenRow[], batchSize: number, random: Random): TokenRow[][] {
  if (!Number.isSafeInteger(batchSize) || batchSize < 1)
    throw new RangeError(`a batch needs at least 1 row, not ${batchSize}`);
  const shuffled = random.shuffle(rows);
  const batches: TokenRow[][] = [];
  for (let from = 0; from < shuffled.length; from += WINDOW * batchSize) {
    const window = shuffled.slice(from, from + WINDOW * batchSize).sort((a, b) => a.ids.length - b.ids.length);
    for (let i = 0; i < window.length; i += batchSize) batches.push(window.slice(i, i + batchSize));
  }
  return random.shuffle(batches);
}

/**
 * Every row once, by length, longest first so that memory peaks at the start. `size`: rows per batch, or `tokens`, a bound
 * on rows × longest row; a row above it comes alone.
 */
export function evaluationBatches(
  rows: readonly TokenRow[],
  size: number | { readonly tokens: number },
): readonly PackedBatch[] {
  const batches: PackedBatch[] = [];
  const sorted = [...rows].sort((a, b) => b.ids.length - a.ids.length);
  for (let from = 0; from < sorted.length;) {
    const fitting = typeof size === 'number' ? size : Math.floor(size.tokens / sorted[from]!.ids.length);
    const chosen = sorted.slice(from, from + Math.max(1, fitting));
    from += chosen.length;
    batches.push(pack(chosen));
  }
  return batches;
}
