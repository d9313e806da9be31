import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { temporaryFolder } from '../../tests/support/temporary.ts';
import { UserError } from '../errors.ts';
import { writeAdapter } from '../formats/files/peft.ts';
import { keyOfA, keyOfB, type Adapter } from '../lora/adapter.ts';
import { loraLayout, type LoraOptions } from '../lora/layout.ts';
import { compareAdapters } from './compare-adapters.ts';

const folder = temporaryFolder();

interface Variant extends Partial<LoraOptions> {
  readonly layers?: number;
  readonly features?: number;
  readonly scaleA?: number;
  readonly scaleB?: number;
  readonly base?: string;
}

let count = 0;

/** An adapter whose entries are waves, A and B stretched; twelve layers, so that their order by name is not theirs. */
async function written(variant: Variant = {}): Promise<string> {
  const { layers = 12, features = 6, scaleA = 1, scaleB = 1, base = 'hub/small-llama', ...lora } = variant;
  const projections = Array.from({ length: layers }, (_, layer) =>
    ['q_proj', 'v_proj'].map((kind) => ({
      name: `model.layers.${layer}.self_attn.${kind}`,
      inFeatures: features,
      outFeatures: kind === 'q_proj' ? 6 : 4,
    })),
  ).flat();
  const layout = loraLayout(projections, { targets: ['q_proj', 'v_proj'], rank: 2, alpha: 4, ...lora });
  const waves = (shape: readonly [number, number], factor: number) => ({
    shape,
    data: Float32Array.from({ length: shape[0] * shape[1] }, (_, i) => Math.fround(Math.sin(i + 0.5)) * factor),
  });
  const adapter: Adapter = {
    layout,
    factors: new Map(
      layout.modules.flatMap(({ name, rank, inFeatures, outFeatures }) => [
        [keyOfA(name), waves([rank, inFeatures], scaleA)] as const,
        [keyOfB(name), waves([outFeatures, rank], scaleB)] as const,
      ]),
    ),
  };
  const path = join(folder, `adapter-${count++}`);
  await writeAdapter(path, adapter, { baseModel: base });
  return path;
}

it('compares two states without the base model, layers in their order', async () => {
  const { changes, ratios, lora, source } = await compareAdapters(
    await written(),
    await written({ scaleA: 1.25, scaleB: 2, base: '/models/Small-Llama' }),
  );
  expect(source).toMatchObject({ kind: 'adapters', base: 'hub/small-llama' });
  expect(lora).toMatchObject({ rank: 2, alpha: 4, layers: 12, targets: ['q_proj', 'v_proj'] });
  expect(changes.length).toBe(12 * 2 * 3 * 2);
  expect([...new Set(changes.map(({ layer }) => layer))]).toEqual(Array.from({ length: 12 }, (_, i) => i));
  for (const change of changes) {
    // Powers of two and their sums: scaled without rounding that would turn a direction.
    expect(change.deltaD).toBeCloseTo(0, 12);
    expect(change.deltaMRelative).toBeCloseTo(change.factor === 'A' ? 0.25 : 1, 6);
  }
  for (const axis of ['column', 'rank', 'row'] as const) expect(ratios[axis].magnitude.relative).toBeCloseTo(4, 5);
});

describe('what are not two states of one adapter', () => {
  const cases: readonly (readonly [string, Variant, RegExp])[] = [
    [
      'another rank',
      { rank: 3 },
      /not two states of one adapter: model\.layers\.0\.self_attn\.q_proj has rank 2 in the one and 3/,
    ],
    ['another alpha', { alpha: 8 }, /has the scale 2 in the one and 4 in the other/],
    ['fewer targets', { targets: ['q_proj'] }, /only .* adapts model\.layers\.0\.self_attn\.v_proj/],
    ['fewer layers', { layers: 11 }, /only .* adapts model\.layers\.11\.self_attn\.q_proj/],
    ['a base of another name', { base: 'hub/other' }, /their base models are hub\/small-llama and hub\/other/],
    ['a base of another size', { features: 8 }, /is 6 → 6 in the one and 8 → 6 in the other: their base models differ/],
    [
      'an untrained one',
      { scaleB: 0 },
      /B of model\.layers\.0\.self_attn\.q_proj is 0, as in an adapter that has not been trained/,
    ],
  ];
  it.each(cases)('%s is refused, whichever comes first', async (_, variant, message) => {
    const [plain, other] = [await written(), await written(variant)];
    await expect(compareAdapters(plain, other)).rejects.toThrow(message);
    await expect(compareAdapters(other, plain)).rejects.toThrow(UserError);
  });

  it('and a folder that holds no adapter', async () => {
    await expect(compareAdapters(await written(), folder)).rejects.toThrow(/has no adapter_config\.json/);
  });
});
