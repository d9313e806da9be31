import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { golden, needs, shared } from '../../../tests/shared.ts';
import { readTensors } from '../../formats/files/safetensors.ts';
import { encodeModel } from '../../graph/proto.ts';
import { loraLayout } from '../../lora/layout.ts';
import { cacheNames, decodeGraph } from '../../models/decode.ts';
import { projectionsOf } from '../../models/weights.ts';
import type { Tensors } from '../../tensor/tensor.ts';
import type { Engine } from '../engine.ts';
import { attentionFeeds } from '../attention-feeds.ts';
import { rotaryFeeds } from '../feeds.ts';
import { float32, int32, int64 } from '../session.ts';
import { factorFeeds } from '../lora-engine.ts';
import { openModelFolder } from '../../formats/files/model.ts';
import { openEngine, type BaseModel } from './open.ts';
import { openSession } from './session.ts';
import { placeWeights } from './weights.ts';

const folder = shared('models/stories260K/hf');
const factorsFile = shared('golden/lora_step_stories260K.init.safetensors');

async function readFactors(): Promise<Tensors> {
  const tensors = await readTensors(factorsFile as string);
  return new Map([...tensors].map(([key, x]) => [key.replace('base_model.model.', '').replace('.weight', ''), x]));
}

describe.skipIf(folder === undefined)(`generation with stories260K ${folder ? '' : needs('models')}`, () => {
  const reference = folder
    ? (JSON.parse(readFileSync(shared('models/stories260K/golden.json') as string, 'utf8')) as { greedy_ids: number[] })
    : { greedy_ids: [] };
  let model: BaseModel;
  let engine: Engine;
  let factors: Tensors;
  let none: Tensors;
  const layoutOf = ({ config }: BaseModel) =>
    loraLayout(projectionsOf(config), {
      targets: ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj'],
      rank: 4,
      alpha: 8,
    });
  beforeAll(async () => {
    model = await openModelFolder(folder as string);
    engine = await openEngine({ model, layout: layoutOf(model) });
    factors = await readFactors();
    none = new Map([...factors].map(([key, { shape, data }]) => [key, { shape, data: new Float32Array(data.length) }]));
  });
  afterAll(() => engine.close());

  test('greedy ids equal those of float64 code, from one token and from a longer prompt', async () => {
    const ids = reference.greedy_ids;
    for (const given of [1, 5, 30]) {
      const options = { maxNewTokens: ids.length - given, stop: [] };
      const found = await engine.generate(none, Int32Array.from(ids.slice(0, given)), options);
      expect([...found]).toEqual(ids.slice(given));
    }
  });

  test('ends before a stop id, at the limit, at the last position', async () => {
    const ids = reference.greedy_ids;
    const stop = ids[20] as number;
    const found = await engine.generate(none, Int32Array.of(1), { maxNewTokens: 90, stop: [stop] });
    expect([...found]).toEqual(ids.slice(1, ids.indexOf(stop, 1)));
    expect(await engine.generate(none, Int32Array.of(1), { maxNewTokens: 0, stop: [] })).toHaveLength(0);
    const long = new Int32Array(engine.maxLength - 2).fill(5);
    // The last position is fed too, and gives one more token.
    expect(await engine.generate(none, long, { maxNewTokens: 50, stop: [] })).toHaveLength(3);
  });

  test('sampling repeats with its random numbers, and with topP → 0 is greedy', async () => {
    const draw = (topP: number) => {
      let x = 1;
      const random = () => (x = (x * 16807) % 2147483647) / 2147483647;
      return engine.generate(none, Int32Array.of(1), { maxNewTokens: 30, stop: [], temperature: 1, topP, random });
    };
    expect(await draw(0.95)).toEqual(await draw(0.95));
    expect([...(await draw(1e-9))]).toEqual(reference.greedy_ids.slice(1, 31));
    expect([...(await draw(1))]).not.toEqual(reference.greedy_ids.slice(1, 31));
  });

  test('an aborted signal stops it, and bad prompts are refused', async () => {
    const options = { maxNewTokens: 3, stop: [] };
    const signal = AbortSignal.abort(new Error('enough'));
    await expect(engine.generate(none, Int32Array.of(1), { ...options, signal })).rejects.toThrow('enough');
    await expect(engine.generate(none, Int32Array.of(), options)).rejects.toThrow('no tokens');
    await expect(engine.generate(none, Int32Array.of(1, 512), options)).rejects.toThrow(
      "token id 512 at place 1 is outside the model's vocabulary of 512",
    );
    await expect(engine.generate(none, new Int32Array(513).fill(5), options)).rejects.toThrow('513 tokens');
  });

  test('several prompts side by side: each as alone, whatever its length and end', async () => {
    const ids = reference.greedy_ids;
    const asked = [
      { prompt: ids.slice(0, 1), maxNewTokens: 40, stop: [] },
      { prompt: ids.slice(0, 30), maxNewTokens: 25, stop: [] },
      { prompt: ids.slice(0, 5), maxNewTokens: 90, stop: [ids[20] as number] },
      { prompt: ids.slice(0, 12), maxNewTokens: 0, stop: [] },
      { prompt: ids.slice(0, 17), maxNewTokens: 60, stop: [] },
      { prompt: [1, 274, 287], maxNewTokens: 33, stop: [] },
      ...Array.from({ length: 5 }, (_, i) => ({ prompt: ids.slice(0, 3 + i), maxNewTokens: 20, stop: [] })),
    ];
    const run = ({ prompt, ...options }: (typeof asked)[number]) =>
      engine.generate(none, Int32Array.from(prompt), options);
    const alone = [];
    for (const one of asked) alone.push(await run(one));
    expect(await Promise.all(asked.map(run))).toEqual(alone);
    expect([...(alone[1] as Int32Array)]).toEqual(ids.slice(30, 55));
  });

  test('side by side, an abort stops its own row and no other', async () => {
    const stop = new AbortController();
    let draws = 0;
    const random = () => {
      if (++draws === 5) stop.abort(new Error('enough'));
      return 0.5;
    };
    const options = { maxNewTokens: 20, stop: [] };
    const [aborted, other] = await Promise.allSettled([
      engine.generate(none, Int32Array.of(1), { ...options, temperature: 1, random, signal: stop.signal }),
      engine.generate(none, Int32Array.of(1), options),
    ]);
    expect(aborted).toMatchObject({ status: 'rejected', reason: new Error('enough') });
    expect(draws).toBe(5);
    expect(other).toEqual({ status: 'fulfilled', value: Int32Array.from(reference.greedy_ids.slice(1, 21)) });
  });

  test('logits with an adapter equal PEFT’s', async () => {
    const given = golden<{
      input_ids: number[][];
      positions: [row: number, position: number][];
      logits: number[][];
    }>('peft_logits.json');
    const layout = layoutOf(model);
    const weights = await placeWeights(model.config, model.store);
    const graph = decodeGraph(model.config, weights.type, layout);
    const session = await openSession(encodeModel(graph.finish(weights.place)), weights.folder);
    const { kvHeads, headDim, layers } = model.config;
    const adapter = new Map(
      [...(await readTensors(shared('golden/peft_adapter/adapter_model.safetensors') as string))].map(([key, x]) => [
        key.replace('base_model.model.', '').replace('.weight', ''),
        x,
      ]),
    );
    for (const [i, [row, position]] of given.positions.entries()) {
      const ids = Int32Array.from(given.input_ids[row]?.slice(0, position + 1) ?? []);
      const empty = float32([1, kvHeads, 0, headDim], new Float32Array());
      const at = Int32Array.from(ids.keys());
      const { logits } = await session.run({
        ...factorFeeds(layout, adapter),
        ...Object.fromEntries(cacheNames(layers).map((name) => [`past ${name}`, empty])),
        ...rotaryFeeds(model.config)(ids.length),
        ids: int32([ids.length], ids),
        last: int32([1], Int32Array.of(position)),
        positions: int64([ids.length, 1], BigInt64Array.from(at, BigInt)),
        ...attentionFeeds({ rows: 1, length: ids.length, positions: at, slots: at }, model.config, 1),
      });
      for (const [token, x] of (given.logits[i] as number[]).entries())
        expect(Math.abs((logits?.data[token] as number) - x)).toBeLessThanOrEqual(1e-4 + 1e-4 * Math.abs(x));
    }
    await session.close();
  });
});
