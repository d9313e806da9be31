import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { randomFactors } from '../../../tests/toy-adapter.ts';
import { embeddedModel } from '../../../tests/support/workspace.ts';
import { smallLlama, type SmallLlama } from '../../../tests/support/small-llama.ts';
import { temporaryFolder } from '../../../tests/support/temporary.ts';
import { evaluationBatches } from '../../data/batches.ts';
import { readMix, writeMix } from '../../formats/files/mix.ts';
import { openModelFolder } from '../../formats/files/model.ts';
import { readAdapter } from '../../formats/files/peft.ts';
import { encodeModel } from '../../graph/proto.ts';
import type { AdapterMix } from '../../lora/adapter.ts';
import { keyOfGate } from '../../lora/gate.ts';
import { gatedBeside, gatedPair } from '../../lora/gated.ts';
import { stack } from '../../lora/mix.ts';
import { stream } from '../../tensor/random.ts';
import type { Tensors } from '../../tensor/tensor.ts';
import { mapTensors, sameBits, scale } from '../../tensor/tensors.ts';
import type { PackedBatch } from '../engine.ts';
import { loraEngine } from '../lora-engine.ts';
import { openSession } from './session.ts';
import { placeWeights } from './weights.ts';

const folders = temporaryFolder();
let llama: SmallLlama;
let batch: PackedBatch;
/** Of gatedBeside: A and B of a client's own, and mixers that are not even. */
let params: Tensors;
let rest: AdapterMix[number]['adapter'];
beforeAll(async () => {
  llama = await smallLlama();
  batch = evaluationBatches(llama.clients[1]!.train, 16)[0]!;
  const { layout } = llama;
  const small = (seed: number): Tensors => scale(randomFactors(layout, seed), 0.1);
  rest = { layout, factors: small(2) };
  const { normal } = stream(3, 'mixer');
  const start = gatedBeside(rest).at({ layout, factors: small(1) }).init;
  params = mapTensors(start, (tensor, key) =>
    key.endsWith('gate') ? { ...tensor, data: tensor.data.map(() => normal() / 2) } : tensor,
  );
});
afterAll(() => llama.engine.close());

const mean = (x: Float32Array): number => x.reduce((sum, v) => sum + v, 0) / x.length;
const nll = async (factors: Tensors): Promise<Float32Array> => (await llama.engine.score(factors, batch)).nll;
const pair = (of: Tensors): AdapterMix => gatedPair(llama.layout, of, rest);

describe('a mix weighed token by token, in the model', () => {
  it('is the plain mix of halves where all mixers are 0, in scoring and in generation', async () => {
    const even = mapTensors(params, (tensor, key) =>
      key.endsWith('gate') ? { ...tensor, data: new Float32Array(tensor.data.length) } : tensor,
    );
    const halves = stack(pair(even).map(({ adapter }) => ({ adapter, weight: 0.5 })));
    const [gated, plain] = [await nll(stack(pair(even))), await nll(halves)];
    for (const [i, x] of gated.entries()) expect(Math.abs(x - plain[i]!)).toBeLessThan(1e-4);
    // Mixers that are not even make another model.
    const uneven = await nll(stack(pair(params)));
    expect(Math.max(...uneven.map((x, i) => Math.abs(x - plain[i]!)))).toBeGreaterThan(1e-3);

    const prompt = llama.clients[0]!.train[0]!.ids;
    const answer = (factors: Tensors) => llama.engine.generate(factors, prompt, { maxNewTokens: 6, stop: [] });
    expect(await answer(stack(pair(even)))).toEqual(await answer(halves));
  });

  it('generates what it scores: the greedy token is the one that scoring predicts', async () => {
    const factors = stack(pair(params));
    const row = llama.clients[0]!.train[1]!;
    const predicted = (await llama.engine.score(factors, evaluationBatches([row], 1)[0]!)).predicted;
    const first = row.labelled.indexOf(1);
    const [next] = await llama.engine.generate(factors, row.ids.slice(0, first), { maxNewTokens: 1, stop: [] });
    expect(next).toBe(predicted[0]);
  });

  it('compiles no more than one further graph of each kind, whatever the parts', async () => {
    const model = await openModelFolder(embeddedModel);
    const weights = await placeWeights(model.config, model.store);
    let opened = 0;
    const engine = loraEngine({
      config: model.config,
      layout: llama.layout,
      types: weights.type,
      open(graph) {
        opened++;
        return openSession(encodeModel(graph.finish(weights.place)), weights.folder, { threads: 1 });
      },
    });
    const two = pair(params);
    const three = [...two, { ...two[1]!, weight: 2 }];
    const mixes: AdapterMix[] = [two, [two[0]!, two[1]!].toReversed(), three, [{ adapter: rest, weight: 1 }]];
    for (const mix of [...mixes, ...mixes]) await engine.score(stack(mix), batch);
    expect(opened).toBe(2);
    for (const mix of mixes.slice(0, 3)) await engine.step(stack(mix), batch, 'AB');
    expect(opened).toBe(3);
    await engine.close();
  });

  it('has the gradients of A, B and the mixers, by finite differences of the loss', async () => {
    const point = gatedBeside(rest).at({
      layout: llama.layout,
      factors: new Map([...params].filter(([key]) => !key.endsWith('gate'))),
    });
    const { loss, gradients } = await llama.engine.step(point.toFactors(params), batch, 'AB');
    expect(loss).toBeCloseTo(mean(await nll(point.toFactors(params))), 4);
    const own = point.pullback(gradients, params);
    expect([...own.keys()].sort()).toEqual([...params.keys()].sort());
    const module = llama.layout.modules[1]!.name;
    for (const key of [`${module}.lora_A`, `${module}.lora_B`, keyOfGate(module)]) {
      const { shape, data } = own.get(key)!;
      expect(shape).toEqual(params.get(key)!.shape);
      // Along the gradient itself, where the loss moves most.
      const length = Math.hypot(...data);
      const at = async (by: number): Promise<number> => {
        const moved = params.get(key)!.data.map((x, i) => x + (by * data[i]!) / length);
        return mean(await nll(point.toFactors(new Map([...params, [key, { shape, data: moved }]]))));
      };
      const step = 0.02;
      const slope =
        (8 * ((await at(step)) - (await at(-step))) - ((await at(2 * step)) - (await at(-2 * step)))) / (12 * step);
      expect(slope / length, key).toBeCloseTo(1, 1);
    }
  });
});

describe('its folder', () => {
  it('holds both adapters as PEFT has them and the mixers, and gives back the same bits', async () => {
    const folder = join(folders, 'mix');
    const projections = llama.layout.modules;
    const mix = pair(params);
    await writeMix(folder, mix, { baseModel: 'base', projections });
    const back = await readMix(folder, projections);
    expect(back.map(({ name, weight }) => [name, weight])).toEqual([
      ['own', 1],
      ['others', 1],
    ]);
    expect(sameBits(stack(back), stack(mix))).toBe(true);
    const others = await readAdapter(join(folder, 'others'), projections);
    expect(sameBits(others.factors, rest.factors)).toBe(true);
    await expect(readAdapter(folder, projections)).rejects.toThrow(
      'holds a mix of adapters (mix.json), not one adapter',
    );
  });

  it('of a single adapter is a PEFT folder as ever', async () => {
    const folder = join(folders, 'one');
    const projections = llama.layout.modules;
    await writeMix(folder, [{ adapter: rest, weight: 1 }], { baseModel: 'base', projections });
    expect(sameBits((await readAdapter(folder, projections)).factors, rest.factors)).toBe(true);
    expect(await readMix(folder, projections)).toHaveLength(1);
  });
});
