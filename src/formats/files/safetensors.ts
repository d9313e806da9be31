import { open, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { UserError } from '../../errors.ts';
import type { Tensor, Tensors } from '../../tensor/tensor.ts';
import { toFloat32, type Dtype } from '../dtype.ts';
import { headerLength, parseHeader, PREFIX_BYTES, type SafetensorsHeader } from '../safetensors.ts';
import { parseIndex } from '../safetensors-index.ts';
import { requireFile, textOfFile } from './read.ts';

/** Where a tensor lies: `length` bytes from `offset` of `file`, little-endian, row-major. */
export interface StoredTensor {
  readonly name: string;
  /** The absolute path, symbolic links not followed. */
  readonly file: string;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  readonly offset: number;
  readonly length: number;
}

/** One safetensors file or a sharded folder, opened for reading: only headers have been read. */
export interface TensorStore {
  /** The file or folder that was opened, absolute. */
  readonly path: string;
  readonly files: readonly string[];
  readonly tensors: ReadonlyMap<string, StoredTensor>;
  /** `__metadata__` of the single file; empty for shards. */
  readonly metadata: ReadonlyMap<string, string>;
}

export const SINGLE_FILE = 'model.safetensors';
export const INDEX_FILE = 'model.safetensors.index.json';

async function kindOf(path: string): Promise<'file' | 'folder' | undefined> {
  try {
    return (await stat(path)).isDirectory() ? 'folder' : 'file';
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '')) return undefined;
    throw new UserError(`${path}: cannot be read: ${(error as Error).message}`, { cause: error });
  }
}

/** Reads and checks the header of one file. Throws UserError, naming `where`, for a missing or malformed file. */
export async function readHeader(
  file: string,
  where: string = file,
): Promise<SafetensorsHeader & { readonly size: number }> {
  const handle = await requireFile(file)
    .then(() => open(file, 'r'))
    .catch((error: unknown) => {
      if (error instanceof UserError) throw error;
      throw new UserError(`${where}: cannot be read: ${(error as Error).message}`, { cause: error });
    });
  try {
    const { size } = await handle.stat();
    const prefix = new Uint8Array(PREFIX_BYTES);
    const { bytesRead } = await handle.read(prefix, 0, PREFIX_BYTES, 0);
    const json = new Uint8Array(headerLength(prefix.subarray(0, bytesRead), size, where));
    for (let at = 0; at < json.length;) {
      const { bytesRead: got } = await handle.read(json, at, json.length - at, PREFIX_BYTES + at);
      if (got === 0) throw new UserError(`${where}: the file ended inside its header`);
      at += got;
    }
    return { ...parseHeader(json, size, where), size };
  } finally {
    await handle.close();
  }
}

async function storedIn(file: string, wanted?: ReadonlySet<string>): Promise<[StoredTensor[], SafetensorsHeader]> {
  const header = await readHeader(file);
  const stored: StoredTensor[] = [];
  for (const [name, entry] of header.tensors)
    if (wanted === undefined || wanted.has(name)) stored.push({ name, file, ...entry });
  return [stored, header];
}

async function openShards(folder: string): Promise<TensorStore> {
  const indexPath = join(folder, INDEX_FILE);
  const shards = parseIndex(await textOfFile(indexPath), indexPath);
  const tensors = new Map<string, StoredTensor>();
  const files: string[] = [];
  for (const [shard, names] of shards) {
    const file = join(folder, shard);
    if ((await kindOf(file)) !== 'file')
      throw new UserError(`${indexPath}: names the shard ${shard}, which is not in ${folder}; download it too`);
    const [stored] = await storedIn(file, names);
    for (const tensor of stored) tensors.set(tensor.name, tensor);
    for (const name of names)
      if (tensors.get(name)?.file !== file)
        throw new UserError(
          `${indexPath}: says that ${JSON.stringify(name)} is in ${shard}, but that file does not have it`,
        );
    files.push(file);
  }
  return { path: folder, files, tensors, metadata: new Map() };
}

/**
 * Opens a .safetensors file, or a folder with model.safetensors or model.safetensors.index.json and its shards (the single file goes
 * first, as in transformers). Reads headers only. Throws UserError for whatever is missing or malformed.
 */
export async function openSafetensors(path: string): Promise<TensorStore> {
  const absolute = resolve(path);
  const kind = await kindOf(absolute);
  if (kind === undefined) throw new UserError(`${absolute}: no such file or folder`);
  if (kind === 'folder') {
    const single = join(absolute, SINGLE_FILE);
    if ((await kindOf(single)) === undefined) {
      if ((await kindOf(join(absolute, INDEX_FILE))) === 'file') return openShards(absolute);
      throw new UserError(
        `${absolute}: has neither ${SINGLE_FILE} nor ${INDEX_FILE}; weights must be in safetensors form (save_pretrained of transformers writes it)`,
      );
    }
    return { ...(await openSafetensors(single)), path: absolute };
  }
  const [stored, { metadata }] = await storedIn(absolute);
  return {
    path: absolute,
    files: [absolute],
    tensors: new Map(stored.map((tensor) => [tensor.name, tensor])),
    metadata,
  };
}

/** The tensor's bytes as they are in the file. */
export async function readBytes(stored: StoredTensor): Promise<Uint8Array> {
  const bytes = new Uint8Array(stored.length);
  await readInto(stored, bytes);
  return bytes;
}

/** Fills `bytes` from the tensor's, from so many bytes on. */
async function readInto({ name, file, offset }: StoredTensor, bytes: Uint8Array, from = 0): Promise<void> {
  const handle = await open(file, 'r');
  try {
    for (let at = 0; at < bytes.length;) {
      const most = Math.min(bytes.length - at, 1 << 30);
      const { bytesRead } = await handle.read(bytes, at, most, offset + from + at);
      if (bytesRead === 0)
        throw new UserError(`${file}: ended inside tensor ${JSON.stringify(name)} (changed while open?)`);
      at += bytesRead;
    }
  } finally {
    await handle.close();
  }
}

/** The tensor in float32, whatever its type in the file; float32 goes straight to where it stays. */
export async function readTensor(stored: StoredTensor): Promise<Tensor> {
  const { shape, dtype, length } = stored;
  if (dtype === 'F32') {
    const data = new Float32Array(length / 4);
    await readInto(stored, new Uint8Array(data.buffer));
    return { shape, data };
  }
  const where = `${stored.file}: tensor ${JSON.stringify(stored.name)}`;
  return { shape, data: toFloat32(await readBytes(stored), dtype, where) };
}

/** Every tensor of a file or sharded folder in float32, in the order of the files. */
export async function readTensors(path: string): Promise<Tensors> {
  const tensors = new Map<string, Tensor>();
  for (const [name, stored] of (await openSafetensors(path)).tensors) tensors.set(name, await readTensor(stored));
  return tensors;
}
