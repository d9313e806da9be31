import { UserError } from '../errors.ts';
import { checkLength, type LlamaConfig } from '../models/config.ts';
import { cacheNames } from '../models/decode.ts';
import { attentionFeeds, gapMask } from './attention-feeds.ts';
import type { GenerateOptions } from './engine.ts';
import { checkIds, rotaryFeeds } from './feeds.ts';
import { largest, sample } from './sample.ts';
import { float32, int32, int64, type Feed, type Feeds } from './session.ts';

/** A prompt to be continued. */
export interface GenerateRequest {
  readonly prompt: Int32Array;
  readonly options: GenerateOptions;
}

interface Row {
  readonly request: GenerateRequest;
  readonly index: number;
  readonly found: number[];
}

/** Throws UserError for an empty or too long prompt, or ids outside the vocabulary. */
export function checkPrompt(config: LlamaConfig, prompt: Int32Array): void {
  if (prompt.length === 0) throw new UserError('the prompt has no tokens');
  checkIds(prompt, config.vocabularySize);
  checkLength(config, prompt.length);
}

function choose(logits: Float32Array, { temperature = 0, topP = 1, random }: GenerateOptions): number {
  if (temperature === 0) return largest(logits);
  if (random === undefined) throw new Error('sampling needs a source of random numbers');
  return sample(logits, temperature, topP, random());
}

const concatenated = (parts: readonly Int32Array[]): Int32Array => Int32Array.from(parts.flatMap((part) => [...part]));

/** Where rows' new tokens stand: `past[row]` tokens of the row before them, `keys` cached and new keys in all. */
function freshFeeds(
  config: LlamaConfig,
  fresh: readonly Int32Array[],
  past: readonly number[],
  keys: number,
  gap?: { readonly from: readonly number[]; readonly to: number },
): Feeds {
  const length = Math.max(...fresh.map((ids) => ids.length));
  const within = Int32Array.from(fresh.flatMap((ids) => [...ids.keys()]));
  const row = fresh.flatMap((ids, r) => Array.from(ids, () => r));
  const slots = Int32Array.from(row, (r, i) => r * length + within[i]!);
  let end = -1;
  return {
    ids: int32([row.length], concatenated(fresh)),
    positions: int64(
      [row.length, 1],
      BigInt64Array.from(row, (r, i) => BigInt(past[r]! + within[i]!)),
    ),
    last: int32(
      [fresh.length],
      Int32Array.from(fresh, (ids) => (end += ids.length)),
    ),
    ...attentionFeeds({ rows: fresh.length, length, positions: within, slots }, config, 1),
    // After the prompts, one token a row sees its row's cache but for the gap behind a shorter prompt.
    ...(gap === undefined
      ? {}
      : {
          'mask 0': gapMask(gap.from, gap.to, keys),
          'scoreShape 0': int64(
            [5],
            BigInt64Array.from([fresh.length, config.kvHeads, config.heads / config.kvHeads, 1, keys], BigInt),
          ),
        }),
  };
}

/** Some rows of a cache [rows, …]. */
function keepRows({ dims, data }: Feed, rows: readonly number[]): Feed {
  const size = data.length / (dims[0] ?? 1);
  const kept = new Float32Array(rows.length * size);
  for (const [to, row] of rows.entries())
    kept.set((data as Float32Array).subarray(row * size, (row + 1) * size), to * size);
  return float32([rows.length, ...dims.slice(1)], kept);
}

/**
 * Continues prompts side by side over a compiled `decodeGraph`, each until its stop id, its `maxNewTokens` or the model's
 * last position; a row that has ended leaves the batch. New keys are cached behind the longest prompt; the gap behind a shorter
 * one is masked. Between tokens the signals are looked at: an aborted row fails alone. Prompts must have been checked.
 */
export async function generateTogether(
  run: (feeds: Feeds) => Promise<Feeds>,
  config: LlamaConfig,
  factors: Feeds,
  requests: readonly GenerateRequest[],
): Promise<PromiseSettledResult<Int32Array>[]> {
  const limit = Math.min(config.maxPositions, config.slidingWindow ?? Infinity);
  const names = cacheNames(config.layers);
  const rotary = rotaryFeeds(config);
  const results: PromiseSettledResult<Int32Array>[] = requests.map(() => ({ status: 'rejected', reason: undefined }));
  let rows = requests.map((request, index): Row => ({ request, index, found: [] }));
  let cache: Feeds = {};
  // Cached keys after the prompts: those of the longest one.
  let width = 0;
  for (let step = 0; ; step++) {
    // Rows that go on: not aborted, not at their limit, and with a position left for the next token.
    const going = rows.filter(({ request: { prompt, options }, index, found }) => {
      if (options.signal?.aborted === true) {
        results[index] = { status: 'rejected', reason: options.signal.reason };
        return false;
      }
      results[index] = { status: 'fulfilled', value: Int32Array.from(found) };
      return found.length === step && step < options.maxNewTokens && prompt.length + step <= limit;
    });
    if (going.length === 0) return results;
    if (step > 0 && going.length < rows.length) {
      const kept = going.map((row) => rows.indexOf(row));
      cache = Object.fromEntries(Object.entries(cache).map(([name, feed]) => [name, keepRows(feed, kept)]));
    }
    rows = going;
    const lengths = rows.map(({ request }) => request.prompt.length);
    const longest = Math.max(...lengths);
    const first = step === 0;
    if (first) {
      width = longest;
      const empty = float32([rows.length, config.kvHeads, 0, config.headDim], new Float32Array());
      cache = Object.fromEntries(names.map((name) => [`past ${name}`, empty]));
    }
    const keys = width + step;
    const past = lengths.map((length) => (first ? 0 : length + step - 1));
    const fresh = rows.map(({ request, found }) => (first ? request.prompt : Int32Array.of(found.at(-1)!)));
    const output = await run({
      ...factors,
      ...cache,
      ...rotary(longest + step),
      ...freshFeeds(config, fresh, past, keys, first ? undefined : { from: lengths, to: width }),
    });
    const { data } = output['logits'] as Feed;
    for (const [i, { request, found }] of rows.entries()) {
      const logits = (data as Float32Array).subarray(i * config.vocabularySize, (i + 1) * config.vocabularySize);
      const token = choose(logits, request.options);
      if (!request.options.stop.includes(token)) found.push(token);
    }
    cache = Object.fromEntries(names.map((name) => [`past ${name}`, output[`present ${name}`] as Feed]));
  }
}
