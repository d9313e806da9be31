import { rm } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { Tensor, Tensors } from '../../tensor/tensor.ts';
import { dtypeBytes, type FloatDtype } from '../dtype.ts';
import { safetensorsChunks } from '../safetensors.ts';
import { writeAtomically } from './atomic.ts';
import { INDEX_FILE, SINGLE_FILE } from './safetensors.ts';

export interface WriteOptions {
  /** Type in the file; default F32. */
  readonly dtype?: FloatDtype;
  /** Default `{ format: 'pt' }`, without which transformers refuses a model's file. */
  readonly metadata?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal;
}

/** Writes one file atomically, tensors sorted by name. */
export async function writeSafetensors(file: string, tensors: Tensors, options: WriteOptions = {}): Promise<void> {
  const chunks = safetensorsChunks(tensors, options.dtype ?? 'F32', options.metadata ?? { format: 'pt' });
  await writeAtomically(file, chunks, options.signal);
}

const digits = (n: number): string => String(n).padStart(5, '0');

/**
 * Writes model.safetensors, or shards of at most `maxShardBytes` of data (default 5 GB; a larger tensor has a shard of its own) and
 * their index, which is written last. A model of the other form in the folder is replaced.
 */
export async function writeModelTensors(
  folder: string,
  tensors: Tensors,
  { maxShardBytes = 5_000_000_000, ...options }: WriteOptions & { readonly maxShardBytes?: number } = {},
): Promise<void> {
  const dtype = options.dtype ?? 'F32';
  const sizeOf = ({ data }: Tensor): number => data.length * dtypeBytes[dtype];
  const shards: Map<string, Tensor>[] = [];
  let filled = Infinity;
  let total = 0;
  for (const [name, tensor] of [...tensors].sort(([a], [b]) => (a < b ? -1 : 1))) {
    const size = sizeOf(tensor);
    if (filled + size > maxShardBytes) {
      shards.push(new Map());
      filled = 0;
    }
    shards.at(-1)?.set(name, tensor);
    filled += size;
    total += size;
  }
  if (shards.length <= 1) {
    await writeSafetensors(join(folder, SINGLE_FILE), tensors, options);
    return rm(join(folder, INDEX_FILE), { force: true });
  }
  const weightMap: [string, string][] = [];
  for (const [i, shard] of shards.entries()) {
    const file = join(folder, `model-${digits(i + 1)}-of-${digits(shards.length)}.safetensors`);
    await writeSafetensors(file, shard, options);
    for (const name of shard.keys()) weightMap.push([name, basename(file)]);
  }
  const index = { metadata: { total_size: total }, weight_map: Object.fromEntries(weightMap) };
  await writeAtomically(join(folder, INDEX_FILE), `${JSON.stringify(index, undefined, 2)}\n`, options.signal);
  // Readers take the single file first: an older one would hide the shards.
  return rm(join(folder, SINGLE_FILE), { force: true });
}
