import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { smallLlama, type SmallLlama } from '../../../tests/support/small-llama.ts';
import { temporaryFolder } from '../../../tests/support/temporary.ts';
import { randomFactors } from '../../../tests/toy-adapter.ts';
import { evaluationBatches, pack } from '../../data/batches.ts';
import type { TokenRow } from '../../data/types.ts';
import { readMix, writeMix } from '../../formats/files/mix.ts';
import type { Adapter, AdapterMix } from '../../lora/adapter.ts';
import { stack, stackAdapter } from '../../lora/mix.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { sameBits, scale } from '../../tensor/tensors.ts';
import { represent } from '../../train/represent.ts';

const folder = temporaryFolder();
let llama: SmallLlama;
let local: Adapter;
let global: Adapter;
beforeAll(async () => {
  llama = await smallLlama();
  const adapter = (seed: number): Adapter => ({
    layout: llama.layout,
    factors: scale(randomFactors(llama.layout, seed), 0.1),
  });
  [local, global] = [adapter(1), adapter(2)];
});
afterAll(() => llama.engine.close());

const promptOf = ({ ids, labelled }: TokenRow): Int32Array => ids.slice(0, labelled.indexOf(1));
const seen = (prompt: Int32Array): Promise<Float32Array> => llama.engine.represent(local.factors, prompt);
const cosine = (x: Float32Array, y: Float32Array): number =>
  x.reduce((sum, v, i) => sum + v * y[i]!, 0) / Math.hypot(...x) / Math.hypot(...y);
const mixOf = (references: Tensor, factor: number): AdapterMix => [
  { adapter: local, weight: 0.5, likeness: { references, factor }, name: 'local' },
  { adapter: global, weight: 0.5, name: 'global' },
];
const fixed = (alpha: number): AdapterMix => [
  { adapter: local, weight: alpha },
  { adapter: global, weight: 1 - alpha },
];
async function referencesOf(rows: readonly TokenRow[]): Promise<Tensor> {
  const vectors = await Promise.all(rows.map((row) => seen(promptOf(row))));
  return { shape: [rows.length, vectors[0]!.length], data: Float32Array.from(vectors.flatMap((v) => [...v])) };
}

describe('a mix weighed prompt by prompt', () => {
  it('gives each row, and each answer, the α of its own prompt: factor times the mean cosine', async () => {
    const references = await referencesOf(llama.clients[0]!.train.slice(0, 3));
    const model = stack(mixOf(references, 0.5));
    const rows = llama.clients[1]!.train.slice(0, 4);
    const together = await llama.engine.score(model, pack(rows));
    const alphas: number[] = [];
    let at = 0;
    for (const row of rows) {
      const like = await seen(promptOf(row));
      const cosines = [0, 1, 2].map((p) =>
        cosine(references.data.subarray(p * like.length, (p + 1) * like.length), like),
      );
      const alpha = Math.min(1, Math.max(0, (0.5 * (cosines[0]! + cosines[1]! + cosines[2]!)) / 3));
      alphas.push(alpha);
      const alone = await llama.engine.score(stack(fixed(alpha)), evaluationBatches([row], 1)[0]!);
      for (const [i, nll] of alone.nll.entries()) expect(together.nll[at + i]).toBeCloseTo(nll, 4);
      expect(together.predicted.slice(at, at + alone.nll.length)).toEqual(alone.predicted);
      at += alone.nll.length;
      const options = { maxNewTokens: 4, stop: [] };
      expect(await llama.engine.generate(model, promptOf(row), options)).toEqual(
        await llama.engine.generate(stack(fixed(alpha)), promptOf(row), options),
      );
    }
    expect(at).toBe(together.nll.length);
    expect(new Set(alphas).size).toBeGreaterThan(1);
  });

  it('has α = factor for its own single prompt, and never a negative one', async () => {
    const row = llama.clients[2]!.train[0]!;
    const batch = evaluationBatches([row], 1)[0]!;
    const references = await referencesOf([row]);
    const at = async (mix: AdapterMix): Promise<Float32Array> => (await llama.engine.score(stack(mix), batch)).nll;
    const own = await at(mixOf(references, 0.8));
    for (const [i, nll] of (await at(fixed(0.8))).entries()) expect(own[i]).toBeCloseTo(nll, 4);
    const opposite = { ...references, data: references.data.map((x) => -x) };
    const clamped = await at(mixOf(opposite, 0.8));
    for (const [i, nll] of (await at([{ adapter: global, weight: 1 }])).entries())
      expect(clamped[i]).toBeCloseTo(nll, 4);
  });

  it('looks at the client’s own prompts, drawn without repeating, with the local adapter alone', async () => {
    const { clients, engine } = llama;
    const context = {
      client: clients[0]!,
      engine,
      seed: 1,
      stage: 's',
      round: 0,
      rounds: 1,
      signal: new AbortController().signal,
    };
    const all = await represent(context, { from: local, prompts: 99 });
    const own = await referencesOf(clients[0]!.train);
    const sorted = ({ shape, data }: Tensor): string[] =>
      Array.from({ length: shape[0]! }, (_, p) => data.slice(p * shape[1]!, (p + 1) * shape[1]!).join()).sort();
    expect(sorted(all)).toEqual(sorted(own));
    const some = await represent(context, { from: local, prompts: 2 });
    expect(some.shape).toEqual([2, own.shape[1]]);
    expect(sorted(own)).toEqual(expect.arrayContaining(sorted(some)));
    expect((await represent(context, { from: local, prompts: 2 })).data).toEqual(some.data);
  });

  it('is written in parts and read back with the same bits; it is no single adapter, and cannot be trained as one', async () => {
    const references = await referencesOf(llama.clients[0]!.train.slice(0, 2));
    const mix = mixOf(references, 0.5);
    await writeMix(folder, mix, { baseModel: 'base', projections: llama.layout.modules });
    const back = await readMix(folder, llama.layout.modules);
    expect(sameBits(stack(back), stack(mix))).toBe(true);
    expect(back.map(({ name }) => name)).toEqual(['local', 'global']);
    expect(() => stackAdapter(mix)).toThrow('weighed prompt by prompt is no single adapter');
    expect(() => stack(mix.toReversed())).toThrow('the first has the prompts');
    const batch = evaluationBatches(llama.clients[0]!.train, 4)[0]!;
    await expect(llama.engine.step(stack(mix), batch, 'AB')).rejects.toThrow('cannot be trained as one');
  });
});
