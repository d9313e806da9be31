import { UserError } from '../errors.ts';
import { attentionBlocks } from '../models/compile.ts';
import type { LlamaConfig } from '../models/config.ts';
import { rotaryTables } from '../models/rope.ts';
import { attentionFeeds } from './attention-feeds.ts';
import type { PackedBatch } from './engine.ts';
import { float32, int32, int64, type Feeds } from './session.ts';

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

/** Everything about a batch that step and score graphs are fed, apart from factors. Throws UserError for ids outside the vocabulary. */
export function batchFeeds(config: LlamaConfig): (batch: PackedBatch) => Feeds {
  const rotary = rotaryFeeds(config);
  const blocks = attentionBlocks(config);
  return (batch) => {
    const { ids, positions, labelled, targets, length } = batch;
    checkIds(ids, config.vocabularySize);
    checkIds(targets, config.vocabularySize);
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
      ...rotary(length),
      ...attentionFeeds(batch, config, blocks),
    };
  };
}
