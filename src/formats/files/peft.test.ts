import { execFileSync } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { golden, needs, shared } from '../../../tests/shared.ts';
import { UserError } from '../../errors.ts';
import { keyOfA, keyOfB, type Adapter } from '../../lora/adapter.ts';
import { loraLayout, type LoraOptions } from '../../lora/layout.ts';
import { parseConfig } from '../../models/config.ts';
import { projectionsOf } from '../../models/weights.ts';
import type { Tensor } from '../../tensor/tensor.ts';
import { openAdapter, readAdapter, writeAdapter } from './peft.ts';
import { openSafetensors, readTensors } from './safetensors.ts';
import { writeSafetensors } from './safetensors-write.ts';

const configFile = new URL('../../../tests/configs/stories260k.json', import.meta.url);
const projections = projectionsOf(parseConfig(JSON.parse(readFileSync(configFile, 'utf8')), 'stories260k'));
const facts = golden<{ peft_adapter_keys: string[] }>('peft_files.json');

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'fedlora-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

/** An adapter whose numbers all differ. */
function adapter(options: Partial<LoraOptions> = {}): Adapter {
  const layout = loraLayout(projections, { targets: ['q_proj', 'down_proj'], rank: 2, alpha: 4, ...options });
  let next = 0;
  const fill = (...shape: [number, number]): Tensor => ({
    shape,
    data: Float32Array.from({ length: shape[0] * shape[1] }, () => Math.fround(Math.sin(++next))),
  });
  const factors = new Map<string, Tensor>();
  for (const { name, rank, inFeatures, outFeatures } of layout.modules)
    factors.set(keyOfA(name), fill(rank, inFeatures)).set(keyOfB(name), fill(outFeatures, rank));
  return { layout, factors };
}

const configOf = async (path = folder) =>
  JSON.parse(await readFile(join(path, 'adapter_config.json'), 'utf8')) as Record<string, unknown>;

describe('an adapter folder', () => {
  it.each<readonly [string, Partial<LoraOptions>]>([
    ['plain', {}],
    ['of all projections', { targets: ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj'] }],
    ['with rsLoRA', { rslora: true }],
    [
      'of many ranks and alphas',
      {
        rslora: true,
        rankPattern: { 'layers.1.self_attn.q_proj': 5, down_proj: 3 },
        alphaPattern: { 'layers.[24].mlp.down_proj': 0.5 },
      },
    ],
  ])('%s is read back as it was written', async (_, options) => {
    const written = adapter(options);
    for (const more of [{ projections }, {}]) {
      await writeAdapter(folder, written, { baseModel: 'stories260K', ...more });
      expect(await readAdapter(folder, projections)).toEqual(written);
    }
    expect((await readdir(folder)).sort()).toEqual(['adapter_config.json', 'adapter_model.safetensors']);
  });

  it('names its modules shortly where that says the same, else in full', async () => {
    await writeAdapter(folder, adapter(), { baseModel: 'b', projections });
    expect(await configOf()).toMatchObject({
      r: 2,
      lora_alpha: 4,
      target_modules: ['down_proj', 'q_proj'],
      rank_pattern: {},
    });
    const { layout, factors } = adapter();
    const some = layout.modules.slice(0, 3);
    const part = { layout: { ...layout, modules: some }, factors };
    await writeAdapter(folder, part, { baseModel: 'b', projections });
    expect((await configOf())['target_modules']).toEqual(some.map(({ name }) => name).sort());
    expect((await readAdapter(folder, projections)).layout).toEqual(part.layout);
  });

  it('writes exceptions for the least frequent ranks and alphas', async () => {
    const uneven = adapter({
      rankPattern: { 'layers.1.self_attn.q_proj': 5 },
      alphaPattern: { q_proj: 7, 'layers.0.mlp.down_proj': 7 },
    });
    await writeAdapter(folder, uneven, { baseModel: 'b', projections });
    expect(await configOf()).toMatchObject({
      r: 2,
      lora_alpha: 7,
      rank_pattern: { 'layers.1.self_attn.q_proj': 5 },
      alpha_pattern: Object.fromEntries([1, 2, 3, 4].map((i) => [`layers.${i}.mlp.down_proj`, 4])),
    });
    expect(await readAdapter(folder, projections)).toEqual(uneven);
  });

  it('opens without its base for inspection', async () => {
    await writeAdapter(folder, adapter(), { baseModel: 'org/base' });
    const { config, tensors } = await openAdapter(folder);
    expect([config.baseModel, config.rank, tensors.size]).toEqual(['org/base', 2, 20]);
  });
});

describe('an adapter that does not fit', () => {
  const change = async (edit: (tensors: Map<string, Tensor>) => void, config: object = {}) => {
    await writeAdapter(folder, adapter(), { baseModel: 'b', projections });
    const file = join(folder, 'adapter_model.safetensors');
    const tensors = new Map(await readTensors(file));
    edit(tensors);
    await writeSafetensors(file, tensors);
    await writeFile(join(folder, 'adapter_config.json'), JSON.stringify({ ...(await configOf()), ...config }));
  };
  const key = 'base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight';
  const zeros = (...shape: number[]): Tensor => ({ shape, data: new Float32Array(shape.reduce((a, b) => a * b, 1)) });
  it.each<readonly [string, () => Promise<unknown>, RegExp]>([
    [
      'in rank',
      () => change(() => {}, { r: 3 }),
      /q_proj\.lora_A\.weight is \[2, 64\], expected \[3, 64\] \(rank 3 by adapter_config\.json, 64 → 64 features in the base model\)/,
    ],
    ['in shape', () => change((t) => t.set(key, zeros(2, 65))), /lora_A\.weight is \[2, 65\], expected \[2, 64\]/],
    ['in dimensions', () => change((t) => t.set(key, zeros(128))), /lora_A\.weight is \[128\], expected \[2, 64\]/],
    [
      'for a missing key',
      () => change((t) => t.delete(key)),
      /layers\.0\.self_attn\.q_proj\.lora_A\.weight is missing, though adapter_config\.json's target_modules select it/,
    ],
    [
      'for a module of another base',
      () => change((t) => t.set(key.replace('layers.0', 'layers.5'), zeros(2, 64))),
      /base_model\.model\.model\.layers\.5\.self_attn\.q_proj\.lora_A\.weight belong to no adapted projection of this base model/,
    ],
    [
      'for keys of other kinds',
      () =>
        change((t) =>
          t.set('base_model.model.lm_head.weight', zeros(1)).set('x', zeros(1)).set('y', zeros(1)).set('z', zeros(1)),
        ),
      /base_model\.model\.lm_head\.weight, x, y and 1 more belong to no adapted projection/,
    ],
    [
      'for targets that its tensors lack',
      () => change(() => {}, { target_modules: ['q_proj', 'k_proj', 'down_proj'] }),
      /k_proj\.lora_A\.weight is missing/,
    ],
    [
      'for targets that the base lacks',
      () => change((t) => t.clear(), { target_modules: ['c_attn'] }),
      /target_modules select no projection of this base model/,
    ],
    [
      'for NaN',
      () => change((t) => t.get(key)!.data.set([NaN], 7)),
      /q_proj\.lora_A\.weight holds NaN at index 7; adapters must be finite/,
    ],
    [
      'for an unsupported option',
      () => change(() => {}, { use_dora: true }),
      /adapter_config\.json: use_dora true is not supported/,
    ],
    [
      'for a truncated file',
      async () => {
        await change(() => {});
        const file = join(folder, 'adapter_model.safetensors');
        await writeFile(file, (await readFile(file)).subarray(0, -3));
      },
      /adapter_model\.safetensors: tensor .* but the file holds only/,
    ],
    [
      'without a config',
      () => rm(join(folder, 'adapter_config.json')).catch(() => {}),
      /has no adapter_config\.json; an adapter is a folder as PEFT's save_pretrained writes it/,
    ],
    [
      'with a broken config',
      () => writeFile(join(folder, 'adapter_config.json'), '{'),
      /adapter_config\.json: not JSON/,
    ],
    [
      'without tensors',
      async () => {
        await change(() => {});
        await rm(join(folder, 'adapter_model.safetensors'));
        await writeFile(join(folder, 'adapter_model.bin'), '');
      },
      /has no adapter_model\.safetensors; adapter_model\.bin is not read/,
    ],
  ])('%s is refused', async (_, damage, message) => {
    await damage();
    await expect(readAdapter(folder, projections)).rejects.toThrow(message);
    await expect(readAdapter(folder, projections)).rejects.toThrow(UserError);
    await expect(readAdapter(folder, projections)).rejects.toThrow(folder);
  });
});

const peftAdapter = shared('golden/peft_adapter');
describe.skipIf(peftAdapter === undefined)(`PEFT's own folder ${needs('golden/peft_adapter')}`, () => {
  it('is read with its numbers, and written again byte for byte', async () => {
    const read = await readAdapter(peftAdapter!, projections);
    const init = await readTensors(shared('golden/lora_step_stories260K.init.safetensors')!);
    expect(read.layout.modules.length).toBe(35);
    expect(read.layout.modules.every((m) => m.rank === 4 && m.alpha === 8 && m.scale === 2)).toBe(true);
    for (const { name } of read.layout.modules) {
      expect(read.factors.get(keyOfA(name))).toEqual(init.get(`base_model.model.${name}.lora_A.weight`));
      expect(read.factors.get(keyOfB(name))).toEqual(init.get(`base_model.model.${name}.lora_B.weight`));
    }
    await writeAdapter(folder, read, { baseModel: 'stories260K', projections });
    const file = 'adapter_model.safetensors';
    expect([...(await openSafetensors(join(folder, file))).tensors.keys()].sort()).toEqual(facts.peft_adapter_keys);
    expect((await readFile(join(folder, file))).equals(await readFile(join(peftAdapter!, file)))).toBe(true);
    const theirs = await configOf(peftAdapter);
    for (const [key, value] of Object.entries(await configOf()))
      expect({ [key]: theirs[key] }).toEqual({ [key]: value });
  });
});

const python = process.env['FEDLORA_PEFT_PYTHON'];
const why =
  python === undefined ? '(needs FEDLORA_PEFT_PYTHON, a python with peft)' : needs('golden, models/stories260K');
const script = shared('golden/verify_peft.py');
const base = shared('models/stories260K/hf');
describe.skipIf(python === undefined || script === undefined || base === undefined)(
  `PEFT loads what we write ${why}`,
  () => {
    const verify = () => {
      execFileSync(python!, [script!, base!, folder, shared('golden/peft_logits.json')!], {
        encoding: 'utf8',
        timeout: 300_000,
      });
    };

    it('and computes the golden logits', { timeout: 300_000 }, async () => {
      await writeAdapter(folder, await readAdapter(peftAdapter!, projections), {
        baseModel: 'stories260K',
        projections,
      });
      verify();
    });

    it(
      'also when ranks and alphas differ by module: B·A, padded with zeros and rescaled, stays the same',
      { timeout: 300_000 },
      async () => {
        const read = await readAdapter(peftAdapter!, projections);
        const factors = new Map(read.factors);
        const modules = read.layout.modules.map((module, i) => {
          if (i % 3 > 0) return module;
          const rank = 4 + (i % 4);
          const [a, b] = [factors.get(keyOfA(module.name))!.data, factors.get(keyOfB(module.name))!.data];
          const { name, inFeatures, outFeatures } = module;
          const wideA = new Float32Array(rank * inFeatures);
          wideA.set(a);
          const wideB = Float32Array.from({ length: outFeatures * rank }, (_, j) =>
            j % rank < 4 ? b[Math.floor(j / rank) * 4 + (j % rank)]! : 0,
          );
          factors.set(keyOfA(name), { shape: [rank, inFeatures], data: wideA });
          factors.set(keyOfB(name), { shape: [outFeatures, rank], data: wideB });
          return { ...module, rank, alpha: 2 * rank };
        });
        await writeAdapter(
          folder,
          { layout: { modules, rslora: false }, factors },
          { baseModel: 'stories260K', projections },
        );
        expect(Object.keys((await configOf())['rank_pattern'] as object).length).toBeGreaterThan(5);
        verify();
      },
    );
  },
);
