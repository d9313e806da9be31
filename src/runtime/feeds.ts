import { UserError } from '../errors.ts';
import type { LlamaConfig } from '../models/config.ts';
import { rotaryTables } from '../models/rope.ts';
import type { PackedBatch } from './engine.ts';
import type { Feed, Feeds } from './session.ts';

export const int32 = (dims: readonly number[], data: Int32Array): Feed => ({ type: 'int32', dims, data });
export const int64 = (dims: readonly number[], data: BigInt64Array): Feed => ({ type: 'int64', dims, data });
export const float32 = (dims: readonly number[], data: Float32Array): Feed => ({ type: 'float32', dims, data });

/** What ONNX Runtime's kernels take for minus infinity here: added to any score it leaves a probability of exactly 0. */
const NEVER = -1e30;

/** Refuses ids that the vocabulary does not have, before they reach the runtime. */
export function checkIds(ids: Int32Array, vocabularySize: number): void {
  const bad = ids.findIndex((id) => id < 0 || id >= vocabularySize);
  if (bad >= 0)
    throw new UserError(
      `token id ${ids[bad]} at place ${bad} is outside the model's vocabulary of ${vocabularySize} tokens: the data were tokenised for another model`,
    );
}

/** Tables of rotations, kept while they are long enough. */
export function rotaryFeeds(config: LlamaConfig): (length: number) => Feeds {
  let kept: Feeds = {};
  let count = 0;
  return (length) => {
    if (length > count) {
      count = Math.max(64, 2 ** Math.ceil(Math.log2(length)));
      const { cos, sin } = rotaryTables(config, count);
      const dims = [count, config.headDim / 2];
      kept = { cos: float32(dims, cos), sin: float32(dims, sin) };
    }
    return kept;
  };
}

/** 0 where query i sees key j, i ≥ j, else very negative: [1, 1, 1, length, length]. */
export function causalMask(length: number): Feed {
  const mask = new Float32Array(length * length);
  for (let i = 0; i < length; i++) mask.fill(NEVER, i * length + i + 1, (i + 1) * length);
  return float32([1, 1, 1, length, length], mask);
}

/** For one new token a row: very negative at the keys from `from[row]` up to `to`, which are padding; [rows, 1, 1, 1, keys]. */
export function gapMask(from: readonly number[], to: number, keys: number): Feed {
  const mask = new Float32Array(from.length * keys);
  for (const [row, start] of from.entries()) mask.fill(NEVER, row * keys + start, row * keys + to);
  return float32([from.length, 1, 1, 1, keys], mask);
}

/** The padded form's index arrays: which packed head goes where, and back; with a cache there are more `keys` than new tokens. See `PaddedForm`. */
export function batchIndices(
  { rows, length, positions, slots }: Pick<PackedBatch, 'rows' | 'length' | 'positions' | 'slots'>,
  { heads, kvHeads }: Pick<LlamaConfig, 'heads' | 'kvHeads'>,
  keys = length,
): Feeds {
  const n = slots.length;
  const group = heads / kvHeads;
  const padQueries = new Int32Array(rows * heads * length);
  const padKeys = new Int32Array(rows * kvHeads * length);
  const unpadQueries = new Int32Array(n * heads);
  const unpadKeys = new Int32Array(n * kvHeads);
  const scatterQueries = new BigInt64Array(n * heads);
  for (let i = 0; i < n; i++) {
    const position = positions[i] as number;
    const row = ((slots[i] as number) - position) / length;
    for (let h = 0; h < heads; h++) {
      // Query head h is number h mod group of key head ⌊h / group⌋, so heads in order are the padded form's order too.
      const to = (row * heads + h) * length + position;
      padQueries[to] = i * heads + h;
      unpadQueries[i * heads + h] = to;
      scatterQueries[i * heads + h] = BigInt(to);
    }
    for (let h = 0; h < kvHeads; h++) {
      const to = (row * kvHeads + h) * length + position;
      padKeys[to] = i * kvHeads + h;
      unpadKeys[i * kvHeads + h] = to;
    }
  }
  return {
    padQueries: int32([rows, kvHeads, group * length], padQueries),
    padKeys: int32([rows, kvHeads, length], padKeys),
    unpadQueries: int32([n, heads], unpadQueries),
    unpadKeys: int32([n, kvHeads], unpadKeys),
    scatterQueries: int64([n * heads, 1], scatterQueries),
    scoreShape: int64([5], BigInt64Array.from([rows, kvHeads, group, length, keys], BigInt)),
  };
}

/** Everything about a batch that step and score graphs are fed, apart from factors. Throws UserError for ids outside the vocabulary. */
export function batchFeeds(config: LlamaConfig): (batch: PackedBatch) => Feeds {
  const rotary = rotaryFeeds(config);
  let mask = causalMask(1);
  return (batch) => {
    const { ids, positions, labelled, targets, length } = batch;
    checkIds(ids, config.vocabularySize);
    checkIds(targets, config.vocabularySize);
    if (length !== mask.dims[4]) mask = causalMask(length);
    const pairs = new BigInt64Array(2 * targets.length);
    for (const [i, target] of targets.entries()) {
      pairs[2 * i] = BigInt(i);
      pairs[2 * i + 1] = BigInt(target);
    }
    return {
      ids: int32([ids.length], ids),
      positions: int64([ids.length, 1], BigInt64Array.from(positions, BigInt)),
      labelled: int32([labelled.length], labelled),
      targets: int64([targets.length, 2], pairs),
      mask,
      ...rotary(length),
      ...batchIndices(batch, config),
    };
  };
}
