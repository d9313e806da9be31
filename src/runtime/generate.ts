import { UserError } from '../errors.ts';
import { checkLength, type LlamaConfig } from '../models/config.ts';
import { cacheNames } from '../models/decode.ts';
import type { GenerateOptions } from './engine.ts';
import { causalMask, checkIds, float32, int32, int64, rotaryFeeds } from './feeds.ts';
import { largest, sample } from './sample.ts';
import type { Feed, Feeds, Session } from './session.ts';

function choose(logits: Float32Array, { temperature = 0, topP = 1, random }: GenerateOptions): number {
  if (temperature === 0) return largest(logits);
  if (random === undefined) throw new Error('sampling needs a source of random numbers');
  return sample(logits, temperature, topP, random());
}

/**
 * Continues a prompt token by token over a decode session (`decodeGraph`) until a stop id, `maxNewTokens` or the model's last
 * position. Between tokens the signal is looked at. Throws UserError for an empty or too long prompt.
 */
export async function generate(
  session: Session,
  config: LlamaConfig,
  factors: Feeds,
  prompt: Int32Array,
  options: GenerateOptions,
): Promise<Int32Array> {
  if (prompt.length === 0) throw new UserError('the prompt has no tokens');
  checkIds(prompt, config.vocabularySize);
  checkLength(config, prompt.length);
  const limit = Math.min(config.maxPositions, config.slidingWindow ?? Infinity);
  const names = cacheNames(config.layers);
  const empty = float32([config.kvHeads, 0, config.headDim], new Float32Array());
  const rotary = rotaryFeeds(config);
  let cache: Feeds = Object.fromEntries(names.map((name) => [`past ${name}`, empty]));
  let fresh = prompt;
  let past = 0;
  const found: number[] = [];
  while (found.length < options.maxNewTokens && past + fresh.length <= limit) {
    options.signal?.throwIfAborted();
    const total = past + fresh.length;
    const results = await session.run({
      ...factors,
      ...cache,
      ...rotary(total),
      ids: int32([fresh.length], fresh),
      last: int32([1], Int32Array.of(fresh.length - 1)),
      positions: int64(
        [fresh.length, 1],
        BigInt64Array.from(fresh, (_, i) => BigInt(past + i)),
      ),
      mask: causalMask(fresh.length, past),
      scoreShape: int64(
        [4],
        BigInt64Array.from([config.kvHeads, config.heads / config.kvHeads, fresh.length, total], BigInt),
      ),
    });
    const token = choose((results['logits'] as Feed).data as Float32Array, options);
    if (options.stop.includes(token)) break;
    found.push(token);
    cache = Object.fromEntries(names.map((name) => [`past ${name}`, results[`present ${name}`] as Feed]));
    past = total;
    fresh = Int32Array.of(token);
  }
  return Int32Array.from(found);
}
