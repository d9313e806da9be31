import { cpSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { readTensors } from '../../src/formats/files/safetensors.ts';
import { writeModelTensors, writeSafetensors } from '../../src/formats/files/safetensors-write.ts';
import type { Tensor } from '../../src/tensor/tensor.ts';
import { embeddedModel, embeddedTasks } from './workspace.ts';

const weights = 'model.safetensors';

type Json = Record<string, unknown>;

export function editJson(path: string, edit: (json: Json) => Json): void {
  writeFileSync(path, JSON.stringify(edit(JSON.parse(readFileSync(path, 'utf8')) as Json)));
}

/** Copies of the embedded model with one thing wrong each. */
export const brokenModels: Readonly<Record<string, (folder: string) => void | Promise<void>>> = {
  'missing weights': (folder) => rmSync(join(folder, weights)),
  'truncated weights': (folder) => truncateSync(join(folder, weights), 1_000_000),
  'an index naming a missing shard': async (folder) => {
    const tensors = await readTensors(folder);
    rmSync(join(folder, weights));
    await writeModelTensors(folder, tensors, { dtype: 'F16', maxShardBytes: 800_000 });
    rmSync(join(folder, 'model-00002-of-00003.safetensors'));
  },
  'shapes that do not fit the config': (folder) =>
    editJson(join(folder, 'config.json'), (json) => ({ ...json, intermediate_size: 440 })),
  'an unknown model type': (folder) =>
    editJson(join(folder, 'config.json'), (json) => ({ ...json, model_type: 'gpt2' })),
  'token ids beyond the vocabulary': (folder) =>
    editJson(join(folder, 'tokenizer.json'), (json) => ({
      ...json,
      added_tokens: [
        ...(json['added_tokens'] as Json[]),
        {
          id: 5000,
          content: '<|beyond|>',
          special: true,
          single_word: false,
          lstrip: false,
          rstrip: false,
          normalized: false,
        },
      ],
    })),
  'NaN in the weights': async (folder) => {
    const tensors = new Map<string, Tensor>(await readTensors(folder));
    const name = 'model.layers.2.mlp.up_proj.weight';
    const { shape, data } = tensors.get(name)!;
    tensors.set(name, { shape, data: data.with(17, NaN) });
    await writeSafetensors(join(folder, weights), tensors, { dtype: 'F16' });
  },
};

/** A copy of the embedded model with that wrong. */
export async function breakModel(what: string, folder: string): Promise<string> {
  cpSync(embeddedModel, folder, { recursive: true });
  await brokenModels[what]!(folder);
  return folder;
}

/** Rows of the embedded task set with some lines put in the place of others (numbered from 1). */
export function rowsWith(
  path: string,
  lines: Readonly<Record<number, string>>,
  edit: (row: Json) => Json = (row) => row,
): string {
  const rows = readFileSync(embeddedTasks, 'utf8').trimEnd().split('\n');
  const text = rows.map((row, i) => lines[i + 1] ?? JSON.stringify(edit(JSON.parse(row) as Json)));
  writeFileSync(path, `${text.join('\n')}\n`);
  return path;
}
