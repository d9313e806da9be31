import type { LlamaConfig } from '../models/config.ts';
import type { PackedBatch } from './engine.ts';
import { float32, int32, int64, type Feed, type Feeds } from './session.ts';

/** As good as minus infinity for a softmax, without its NaNs: added to a score it leaves a probability of exactly 0. */
const NEVER = -1e30;

/** 0 where query i sees key j, start + i ≥ j, else very negative: [1, 1, 1, length, start + length]. */
function causalMask(length: number, start = 0): Feed {
  const keys = start + length;
  const mask = new Float32Array(length * keys);
  for (let i = 0; i < length; i++) mask.fill(NEVER, i * keys + start + i + 1, (i + 1) * keys);
  return float32([1, 1, 1, length, keys], mask);
}

/** For one new token a row: very negative at the keys from `from[row]` up to `to`, which are padding; [rows, 1, 1, 1, keys]. */
export function gapMask(from: readonly number[], to: number, keys: number): Feed {
  const mask = new Float32Array(from.length * keys);
  for (const [row, start] of from.entries()) mask.fill(NEVER, row * keys + start, row * keys + to);
  return float32([from.length, 1, 1, 1, keys], mask);
}

/** Queries start … end − 1 of the rows that are long enough, and those rows' keys up to end. */
interface Cut {
  readonly start: number;
  readonly length: number;
  readonly keys: number;
  /** Each of the batch's rows' place among the block's, −1 for a row that is too short. */
  readonly place: readonly number[];
  readonly rows: number;
}

function cuts(lengths: readonly number[], count: number, step: number): Cut[] {
  const longest = Math.max(...lengths);
  return Array.from({ length: count }, (_, i): Cut => {
    const start = i * step;
    const end = Math.min(longest, start + step);
    let rows = 0;
    const place = lengths.map((length) => (length > start ? rows++ : -1));
    // A block without rows keeps sizes of one, so that no shape has a zero but that of its rows.
    return rows === 0
      ? { start, length: 1, keys: 1, place, rows }
      : { start, length: end - start, keys: end, place, rows };
  });
}

/**
 * What a graph with `count` attention blocks (see `Blocks`) is fed for a batch: block i has the queries at positions from i·step,
 * step being about a count-th of the longest row, a multiple of `multiple`; one block has everything.
 */
export function attentionFeeds(
  { rows, length, positions, slots }: Pick<PackedBatch, 'rows' | 'length' | 'positions' | 'slots'>,
  { heads, kvHeads }: Pick<LlamaConfig, 'heads' | 'kvHeads'>,
  count: number,
  multiple = 32,
): Feeds {
  const n = slots.length;
  const group = heads / kvHeads;
  const rowOf = Int32Array.from(slots, (slot, i) => (slot - positions[i]!) / length);
  const lengths = Array.from({ length: rows }, () => 0);
  for (const [i, row] of rowOf.entries()) lengths[row] = Math.max(lengths[row]!, positions[i]! + 1);
  const step = count === 1 ? length : multiple * Math.ceil(length / count / multiple);
  const blocks = cuts(lengths, count, step);

  const feeds: Record<string, Feed> = {};
  const unpadQueries = new Int32Array(n * heads);
  let queriesBefore = 0;
  let keysBefore = 0;
  const allKeys = blocks.reduce((sum, cut) => sum + cut.rows * kvHeads * cut.keys, 0);
  for (const [b, cut] of blocks.entries()) {
    const padQueries = new Int32Array(cut.rows * heads * cut.length);
    const padKeys = new Int32Array(cut.rows * kvHeads * cut.keys);
    const unpadKeys = new Int32Array(n * kvHeads).fill(allKeys);
    for (let i = 0; i < n; i++) {
      const place = cut.place[rowOf[i]!]!;
      const position = positions[i]!;
      if (place < 0 || position >= cut.keys) continue;
      for (let h = 0; h < kvHeads; h++) {
        const to = (place * kvHeads + h) * cut.keys + position;
        padKeys[to] = i * kvHeads + h;
        unpadKeys[i * kvHeads + h] = keysBefore + to;
      }
      if (position < cut.start) continue;
      // Query head h is number h mod group of key head ⌊h / group⌋, so heads in order are the padded form's order too.
      for (let h = 0; h < heads; h++) {
        const to = (place * heads + h) * cut.length + position - cut.start;
        padQueries[to] = i * heads + h;
        unpadQueries[i * heads + h] = queriesBefore + to;
      }
    }
    feeds[`padQueries ${b}`] = int32([cut.rows, kvHeads, group * cut.length], padQueries);
    feeds[`padKeys ${b}`] = int32([cut.rows, kvHeads, cut.keys], padKeys);
    feeds[`unpadKeys ${b}`] = int32([n, kvHeads], unpadKeys);
    feeds[`mask ${b}`] = cut.rows === 0 ? causalMask(1) : causalMask(cut.length, cut.start);
    feeds[`scoreShape ${b}`] = int64([5], BigInt64Array.from([cut.rows, kvHeads, group, cut.length, cut.keys], BigInt));
    queriesBefore += padQueries.length;
    keysBefore += padKeys.length;
  }
  return {
    ...feeds,
    unpadQueries: int32([n, heads], unpadQueries),
    scatterQueries: int64([n * heads, 1], BigInt64Array.from(unpadQueries, BigInt)),
    blockSizes: int64(
      [count],
      BigInt64Array.from(blocks, (cut) => BigInt(cut.rows * heads * cut.length)),
    ),
    slots: int64([1], BigInt64Array.of(BigInt(queriesBefore))),
  };
}
