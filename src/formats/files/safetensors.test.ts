import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { needs, shared } from '../../../tests/shared.ts';
import { encodeSafetensors } from '../../../tests/support/safetensors.ts';
import { UserError } from '../../errors.ts';
import type { Tensors } from '../../tensor/tensor.ts';
import { openSafetensors, readBytes, readTensor, readTensors } from './safetensors.ts';
import { writeModelTensors, writeSafetensors } from './safetensors-write.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'fedlora-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const tensors: Tensors = new Map(
  ['a', 'b', 'c', 'd'].map((name, i) => [
    `${name}.weight`,
    { shape: [2, i + 1], data: Float32Array.from({ length: 2 * (i + 1) }, (_, j) => i + j / 4) },
  ]),
);
const sorted = (map: Tensors) => [...map].sort(([a], [b]) => (a < b ? -1 : 1));

describe('one file', () => {
  it('is written, opened and read', async () => {
    const file = join(folder, 'sub', 'x.safetensors');
    await writeSafetensors(file, tensors);
    const store = await openSafetensors(file);
    expect(store.files).toEqual([file]);
    expect([...store.metadata]).toEqual([['format', 'pt']]);
    const stored = store.tensors.get('c.weight')!;
    expect(stored).toMatchObject({ name: 'c.weight', file, dtype: 'F32', shape: [2, 3], length: 24 });
    const bytes = await readFile(file);
    expect(await readBytes(stored)).toEqual(new Uint8Array(bytes.subarray(stored.offset, stored.offset + 24)));
    expect(await readTensor(stored)).toEqual(tensors.get('c.weight'));
    expect([...(await readTensors(file))]).toEqual(sorted(tensors));
    expect(await readdir(join(folder, 'sub'))).toEqual(['x.safetensors']);
  });

  it('opens through a symbolic link, as in a Hub cache, and keeps the link as the path', async () => {
    await writeSafetensors(join(folder, 'blob'), tensors);
    await mkdir(join(folder, 'snapshot'));
    await symlink('../blob', join(folder, 'snapshot', 'model.safetensors'));
    const store = await openSafetensors(join(folder, 'snapshot'));
    expect(store.files).toEqual([join(folder, 'snapshot', 'model.safetensors')]);
    expect((await readTensor(store.tensors.get('a.weight')!)).data).toEqual(tensors.get('a.weight')?.data);
  });

  it.each<readonly [string, (bytes: Uint8Array) => Uint8Array, RegExp]>([
    [
      'cut inside the data',
      (b) => b.subarray(0, -1),
      /tensor "d\.weight" ends at byte 80 of the data, but the file holds only 79 \(truncated\?\)/,
    ],
    ['cut inside the header', (b) => b.subarray(0, 20), /header claims \d+ bytes but the file has 20 \(truncated/],
    ['cut inside the prefix', (b) => b.subarray(0, 3), /3 bytes are too short/],
    ['extended', (b) => Buffer.concat([b, Buffer.alloc(5)]), /5 bytes after the last tensor belong to none/],
  ])('is refused when %s', async (_, damage, message) => {
    const file = join(folder, 'model.safetensors');
    await writeFile(file, damage(encodeSafetensors(tensors)));
    await expect(openSafetensors(folder)).rejects.toThrow(message);
    await expect(openSafetensors(folder)).rejects.toThrow(UserError);
    await expect(openSafetensors(folder)).rejects.toThrow(file);
  });

  it('that shrinks after it was opened is noticed', async () => {
    const file = join(folder, 'x.safetensors');
    await writeSafetensors(file, tensors);
    const { tensors: stored } = await openSafetensors(file);
    await writeFile(file, (await readFile(file)).subarray(0, -4));
    await expect(readTensor(stored.get('d.weight')!)).rejects.toThrow(/ended inside tensor "d\.weight"/);
  });

  it.skipIf(shared('models/stories260K') === undefined)(
    `reads a real model ${needs('models/stories260K')}`,
    async () => {
      const store = await openSafetensors(shared('models/stories260K/hf')!);
      expect(store.tensors.size).toBe(47);
      const embedding = await readTensor(store.tensors.get('model.embed_tokens.weight')!);
      expect(embedding.shape).toEqual([512, 64]);
      expect(embedding.data.every(Number.isFinite)).toBe(true);
    },
  );

  it.skipIf(shared('golden/peft_adapter') === undefined)(
    `is written byte for byte as the reference implementation writes it ${needs('golden/peft_adapter')}`,
    async () => {
      const file = shared('golden/peft_adapter/adapter_model.safetensors')!;
      const copy = join(folder, 'copy.safetensors');
      await writeSafetensors(copy, await readTensors(file));
      expect((await readFile(copy)).equals(await readFile(file))).toBe(true);
    },
  );
});

describe('shards', () => {
  const write = (max: number) => writeModelTensors(folder, tensors, { maxShardBytes: max });
  const index = async () =>
    JSON.parse(await readFile(join(folder, 'model.safetensors.index.json'), 'utf8')) as {
      metadata: { total_size: number };
      weight_map: Record<string, string>;
    };

  it('hold at most the given size and are found through the index', async () => {
    await write(24);
    expect((await readdir(folder)).sort()).toEqual([
      'model-00001-of-00003.safetensors',
      'model-00002-of-00003.safetensors',
      'model-00003-of-00003.safetensors',
      'model.safetensors.index.json',
    ]);
    expect(await index()).toEqual({
      metadata: { total_size: 80 },
      weight_map: {
        'a.weight': 'model-00001-of-00003.safetensors',
        'b.weight': 'model-00001-of-00003.safetensors',
        'c.weight': 'model-00002-of-00003.safetensors',
        'd.weight': 'model-00003-of-00003.safetensors',
      },
    });
    expect([...(await readTensors(folder))]).toEqual(sorted(tensors));
  });

  it('of one are a single file, and the other form of an older model goes away', async () => {
    await write(24);
    await write(80);
    expect(await readdir(folder)).toContain('model.safetensors');
    expect(await readdir(folder)).not.toContain('model.safetensors.index.json');
    expect([...(await readTensors(folder))]).toEqual(sorted(tensors));
    await write(24);
    expect(await readdir(folder)).not.toContain('model.safetensors');
    expect([...(await readTensors(folder))]).toEqual(sorted(tensors));
  });

  const change = async (edit: (map: Record<string, unknown>) => void) => {
    const { weight_map: map } = await index();
    edit(map);
    await writeFile(join(folder, 'model.safetensors.index.json'), JSON.stringify({ weight_map: map }));
  };
  it.each<readonly [string, () => Promise<void>, RegExp]>([
    [
      'a missing shard',
      () => rm(join(folder, 'model-00002-of-00003.safetensors')),
      /names the shard model-00002-of-00003\.safetensors, which is not in/,
    ],
    [
      'a tensor that its shard lacks',
      () => change((m) => (m['b.weight'] = 'model-00003-of-00003.safetensors')),
      /says that "b\.weight" is in model-00003-of-00003\.safetensors, but that file does not have it/,
    ],
    [
      'a shard outside of the folder',
      () => change((m) => (m['b.weight'] = '../model.safetensors')),
      /weight_map "b\.weight" must be the name of a \.safetensors file beside the index, found "\.\.\/model\.safetensors"/,
    ],
    [
      'a pickle',
      () => change((m) => (m['b.weight'] = 'pytorch_model.bin')),
      /must be the name of a \.safetensors file/,
    ],
    [
      'a number for a shard',
      () => change((m) => (m['b.weight'] = 1)),
      /must be the name of a \.safetensors file .* found 1/,
    ],
    ['no tensors', () => change((m) => Object.keys(m).forEach((k) => delete m[k])), /weight_map is empty/],
    [
      'no weight_map',
      () => writeFile(join(folder, 'model.safetensors.index.json'), '{}'),
      /must be an object with a weight_map/,
    ],
    [
      'no JSON',
      () => writeFile(join(folder, 'model.safetensors.index.json'), '{"weight_map"'),
      /index\.json: not JSON/,
    ],
    [
      'a tensor twice',
      () =>
        writeFile(
          join(folder, 'model.safetensors.index.json'),
          '{"weight_map":{"a":"x.safetensors","a":"y.safetensors"}}',
        ),
      /has the key "a" twice/,
    ],
    [
      'a truncated shard',
      () => writeFile(join(folder, 'model-00001-of-00003.safetensors'), 'xx'),
      /model-00001-of-00003\.safetensors: 2 bytes are too short/,
    ],
  ])('with an index of %s are refused', async (_, damage, message) => {
    await write(24);
    await damage();
    await expect(openSafetensors(folder)).rejects.toThrow(message);
    await expect(openSafetensors(folder)).rejects.toThrow(UserError);
  });
});

describe('what is not there', () => {
  it('is named', async () => {
    await expect(openSafetensors(join(folder, 'none'))).rejects.toThrow(/none: no such file or folder/);
    await expect(openSafetensors(folder)).rejects.toThrow(
      /has neither model\.safetensors nor model\.safetensors\.index\.json/,
    );
    await expect(openSafetensors(folder)).rejects.toThrow(UserError);
  });
});
