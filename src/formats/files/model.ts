import { open, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { UserError } from '../../errors.ts';
import { parseConfig, type LlamaConfig } from '../../models/config.ts';
import { checkWeights } from '../../models/fit.ts';
import { dtypeBytes, toFloat32 } from '../dtype.ts';
import { firstNonFinite } from '../finite.ts';
import { readOptionalJson } from './json.ts';
import { openSafetensors, type StoredTensor, type TensorStore } from './safetensors.ts';

/** A model folder, read as far as its headers and checked: config and weights belong together. */
export interface ModelFolder {
  /** Absolute. */
  readonly path: string;
  readonly config: LlamaConfig;
  readonly store: TensorStore;
}

/**
 * Opens a model folder: config.json, generation_config.json where there is one, and the headers of its safetensors. Throws
 * UserError for what is missing, malformed, not supported or does not fit.
 */
export async function openModelFolder(folder: string): Promise<ModelFolder> {
  const path = resolve(folder);
  const kind = await stat(path).catch(() => undefined);
  if (kind === undefined) throw new UserError(`${path}: no such folder`);
  if (!kind.isDirectory())
    throw new UserError(`${path}: is a file; a model is a folder as transformers' save_pretrained writes it`);
  const where = join(path, 'config.json');
  const json = await readOptionalJson(where);
  if (json === undefined) {
    throw new UserError(`${path}: has no config.json; a model is a folder as transformers' save_pretrained writes it`);
  }
  const config = parseConfig(json, where, await readOptionalJson(join(path, 'generation_config.json')));
  const store = await openSafetensors(path);
  checkWeights(config, store.tensors, path);
  return { path, config, store };
}

const CHUNK = 16 * 2 ** 20;

async function checkTensor({ name, file, dtype, offset, length }: StoredTensor, signal?: AbortSignal): Promise<void> {
  const handle = await open(file, 'r');
  try {
    const chunk = new Uint8Array(Math.min(CHUNK, length));
    for (let at = 0; at < length;) {
      signal?.throwIfAborted();
      const want = Math.min(CHUNK, length - at);
      let got = 0;
      while (got < want) {
        const { bytesRead } = await handle.read(chunk, got, want - got, offset + at + got);
        if (bytesRead === 0) throw new UserError(`${file}: ended inside tensor ${JSON.stringify(name)}`);
        got += bytesRead;
      }
      const bad = firstNonFinite(chunk.subarray(0, want), dtype);
      if (bad >= 0) {
        const size = dtypeBytes[dtype];
        const [value] = toFloat32(chunk.subarray(bad * size, (bad + 1) * size), dtype, file);
        throw new UserError(
          `${file}: tensor ${JSON.stringify(name)} holds ${value} at element ${at / size + bad}; weights must be finite`,
        );
      }
      at += want;
    }
  } finally {
    await handle.close();
  }
}

/** Reads every weight once and throws UserError for the first that is NaN or infinite. Yields the bytes read so far. */
export async function* checkFinite(
  tensors: Iterable<StoredTensor>,
  signal?: AbortSignal,
): AsyncGenerator<{ readonly done: number }, void> {
  let done = 0;
  for (const tensor of tensors) {
    await checkTensor(tensor, signal);
    done += tensor.length;
    yield { done };
  }
}
