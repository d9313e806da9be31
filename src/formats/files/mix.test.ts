import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import { temporaryFolder } from '../../../tests/support/temporary.ts';
import { toyAdapter, toyLayout } from '../../../tests/toy-adapter.ts';
import type { AdapterMix } from '../../lora/adapter.ts';
import { keyOfGate } from '../../lora/gate.ts';
import { stack } from '../../lora/mix.ts';
import { sameBits, tensor } from '../../tensor/tensors.ts';
import { readMix, writeMix } from './mix.ts';
import { writeSafetensors } from './safetensors-write.ts';

const layout = toyLayout({ modules: 2 });
const projections = layout.modules;
const row = (seed: number) =>
  new Map(
    projections.map(
      ({ name }, m) =>
        [
          keyOfGate(name),
          tensor(
            [1, 5],
            [1, 2, 3, 4, 5].map((x) => x * seed + m),
          ),
        ] as const,
    ),
  );
const byToken: AdapterMix = [1, 2, 3].map((seed) => ({
  adapter: toyAdapter(layout, seed),
  weight: seed,
  gate: row(seed),
}));
const references = tensor([2, 3], [1, 2, 3, 4, 5, 6]);
const byPrompt: AdapterMix = [
  { adapter: toyAdapter(layout, 1), weight: 0.5, likeness: { references, factor: 0.4 }, name: 'local' },
  { adapter: toyAdapter(layout, 2), weight: 0.5, name: 'global' },
];

const folders = temporaryFolder();
let count = 0;
let folder: string;
beforeEach(() => {
  folder = join(folders, `${count++}`);
});
const write = (mix: AdapterMix): Promise<void> => writeMix(folder, mix, { baseModel: 'base', projections });
const read = (): Promise<AdapterMix> => readMix(folder, projections);
const change = (by: object): void => {
  const path = join(folder, 'mix.json');
  writeFileSync(path, JSON.stringify({ ...(JSON.parse(readFileSync(path, 'utf8')) as object), ...by }));
};

describe('a mix of adapters', () => {
  it.each([
    ['token', byToken],
    ['prompt', byPrompt],
  ] as const)('weighed by %s comes back with the same bits', async (_, mix) => {
    await write(mix);
    expect(sameBits(stack(await read()), stack(mix))).toBe(true);
  });

  it('says what is wrong with its folder, and where', async () => {
    await write(byToken);
    await writeSafetensors(
      join(folder, 'mix.safetensors'),
      new Map([['m0.gate', tensor([2, 5], new Float32Array(10))]]),
    );
    await expect(read()).rejects.toThrow('m0.gate should be [3, 5], found [2, 5]');
    change({ weighed: 'words' });
    await expect(read()).rejects.toThrow('mix.json');
    change({ weighed: 'tokens', parts: [{ adapter: '../elsewhere', weight: 1 }] });
    await expect(read()).rejects.toThrow('mix.json');
  });

  it('weighed by prompts needs two parts, a factor and prompts', async () => {
    await write(byPrompt);
    change({ factor: undefined });
    await expect(read()).rejects.toThrow('has two parts and a factor');
    change({ factor: 0.4 });
    await writeSafetensors(join(folder, 'mix.safetensors'), new Map([['other', tensor([1], [1])]]));
    await expect(read()).rejects.toThrow('references should be [prompts, hidden], found none');
  });
});
