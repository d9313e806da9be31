import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { packRows } from '../../../tests/pack.ts';
import { encodeSafetensors } from '../../../tests/support/safetensors.ts';
import { tinyConfig, tinyFactors, tinyJson, tinyWeights, writeModel } from '../../../tests/tiny-llama.ts';
import { fromFloat32, toFloat32, type FloatDtype } from '../../formats/dtype.ts';
import { encodeHeader } from '../../formats/safetensors.ts';
import { loraLayout } from '../../lora/layout.ts';
import { encodeModel } from '../../graph/proto.ts';
import { stepGraph } from '../../models/compile.ts';
import { parseConfig } from '../../models/config.ts';
import { projectionsOf } from '../../models/weights.ts';
import type { Tensors } from '../../tensor/tensor.ts';
import { openModelFolder } from '../../formats/files/model.ts';
import { openEngine } from './open.ts';
import { openSession } from './session.ts';
import { placeWeights } from './weights.ts';

const layout = loraLayout(projectionsOf(tinyConfig), { targets: ['q_proj', 'down_proj'], rank: 2, alpha: 4 });
const factors = tinyFactors(layout);
const weights = tinyWeights();
const ids = [3, 11, 36, 0, 5, 5, 20, 7];
const batch = packRows({ input_ids: [ids], attention_mask: [ids.map(() => 1)], labels: [ids] });
let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'fedlora-weights-'));
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

async function results(model: string): Promise<{ loss: number; gradients: Tensors; tokens: Int32Array }> {
  const engine = await openEngine({ model, layout });
  const { loss, gradients } = await engine.step(factors, batch, 'AB');
  const tokens = await engine.generate(factors, Int32Array.of(3, 11), { maxNewTokens: 8, stop: [] });
  await engine.close();
  return { loss, gradients, tokens };
}

/** The same numbers as a plain folder gives, bit for bit. */
async function expectSame(model: string, of: Tensors = weights): Promise<void> {
  expect(await results(model)).toEqual(await results(writeModel(tinyJson, of, 'F32', join(root, 'plain'))));
}

test('a Hub cache: snapshots of symbolic links into blobs, sharded, is mapped where it really lies', async () => {
  const repo = join(root, 'models--some--llama');
  const snapshot = join(repo, 'snapshots', 'c0ffee');
  mkdirSync(join(repo, 'blobs'), { recursive: true });
  mkdirSync(snapshot, { recursive: true });
  const names = [...weights.keys()];
  const shards = [names.slice(0, 9), names.slice(9)];
  const weightMap: Record<string, string> = {};
  for (const [i, shard] of shards.entries()) {
    const part = new Map(shard.map((name) => [name, weights.get(name)!]));
    writeFileSync(join(repo, 'blobs', `sha${i}`), encodeSafetensors(part));
    symlinkSync(join('..', '..', 'blobs', `sha${i}`), join(snapshot, `model-${i}.safetensors`));
    for (const name of shard) weightMap[name] = `model-${i}.safetensors`;
  }
  writeFileSync(join(snapshot, 'model.safetensors.index.json'), JSON.stringify({ weight_map: weightMap }));
  writeFileSync(join(snapshot, 'config.json'), JSON.stringify(tinyJson));
  await expectSame(snapshot);
  expect(readdirSync(snapshot)).toHaveLength(4);
});

test('shards that link into different folders, one with spaces and accents', async () => {
  const folder = join(root, 'model');
  mkdirSync(folder);
  const names = [...weights.keys()];
  const weightMap: Record<string, string> = {};
  for (const [i, shard] of [names.slice(0, 20), names.slice(20)].entries()) {
    const elsewhere = join(root, ['a disk', 'zweite Größe'][i] as string, 'deep');
    mkdirSync(elsewhere, { recursive: true });
    writeFileSync(
      join(elsewhere, 'x.bin'),
      encodeSafetensors(new Map(shard.map((name) => [name, weights.get(name)!]))),
    );
    symlinkSync(join(elsewhere, 'x.bin'), join(folder, `${i}.safetensors`));
    for (const name of shard) weightMap[name] = `${i}.safetensors`;
  }
  writeFileSync(join(folder, 'model.safetensors.index.json'), JSON.stringify({ weight_map: weightMap }));
  writeFileSync(join(folder, 'config.json'), JSON.stringify(tinyJson));
  await expectSame(folder);
});

test.each(['F32', 'F16', 'BF16'] as const)('headers of any length: %s tensors at odd offsets', async (dtype) => {
  const rounded = new Map(
    [...weights].map(([name, { shape, data }]) => [
      name,
      { shape, data: toFloat32(fromFloat32(data, dtype), dtype, name) },
    ]),
  );
  for (const extra of [1, 2, 3]) {
    const folder = writeModel(tinyJson, weights, dtype, join(root, `${dtype}${extra}`));
    const file = join(folder, 'model.safetensors');
    writeFileSync(file, oddHeader(weights, dtype, extra));
    const { store } = await openModelFolder(folder);
    expect([...store.tensors.values()].every(({ offset }) => offset % 4 === extra % 4 || dtype !== 'F32')).toBe(true);
    await expectSame(folder, rounded);
  }
});

/** A file whose header is `extra` bytes longer than a multiple of 8. */
function oddHeader(tensors: Tensors, dtype: FloatDtype, extra: number): Uint8Array {
  const planned = [...tensors].map(([name, { shape }]) => ({ name, dtype, shape }));
  const header = Buffer.from(encodeHeader(planned));
  const json = Buffer.concat([header.subarray(8), Buffer.from(' '.repeat(extra))]);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  return Buffer.concat([length, json, ...[...tensors.values()].map(({ data }) => fromFloat32(data, dtype))]);
}

test('a read-only folder is enough, and nothing is written into it', async () => {
  const folder = writeModel(tinyJson, weights, 'F16', join(root, 'model'));
  const bytes = readFileSync(join(folder, 'model.safetensors'));
  for (const file of readdirSync(folder)) chmodSync(join(folder, file), 0o444);
  chmodSync(folder, 0o555);
  await results(folder);
  chmodSync(folder, 0o755);
  expect(readdirSync(folder).toSorted()).toEqual(['config.json', 'model.safetensors']);
  expect(readFileSync(join(folder, 'model.safetensors')).equals(bytes)).toBe(true);
});

test.skipIf(process.platform !== 'linux').each(['F32', 'BF16'] as const)(
  'the weights are mapped, not copied: %s, also at odd offsets',
  async (dtype) => {
    const json = { ...tinyJson, vocab_size: 30_000, hidden_size: 512, num_hidden_layers: 1 };
    const config = parseConfig(json, 'config.json');
    const folder = writeModel(json, new Map(), dtype, join(root, 'wide'));
    writeFileSync(join(folder, 'model.safetensors'), oddHeader(tinyWeights(config), dtype, 3));
    const { store } = await openModelFolder(folder);
    const placed = await placeWeights(config, store);
    const wide = loraLayout(projectionsOf(config), { targets: ['q_proj'], rank: 2, alpha: 4 });
    const model = encodeModel(stepGraph(config, placed.type, wide, 'AB').finish(placed.place));
    const anonymous = (): number =>
      Number(/RssAnon:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]) / 1024;
    const before = anonymous();
    const session = await openSession(model, placed.folder, { threads: 1 });
    const megabytes = anonymous() - before;
    const maps = readFileSync('/proc/self/maps', 'utf8');
    await session.close();
    // The head and the embedding alone are 123 MB in F32 and 61 MB in BF16.
    expect(megabytes).toBeLessThan(20);
    expect(maps).toContain(join(folder, 'model.safetensors'));
  },
);
