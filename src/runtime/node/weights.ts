import { realpath } from 'node:fs/promises';
import { dirname, relative, sep } from 'node:path';
import { UserError } from '../../errors.ts';
import type { Dtype } from '../../formats/dtype.ts';
import type { TensorStore } from '../../formats/files/safetensors.ts';
import type { DType, Place } from '../../graph/value.ts';
import type { LlamaConfig } from '../../models/config.ts';
import { weightShapes } from '../../models/weights.ts';

const types: Readonly<Partial<Record<Dtype, DType>>> = { F32: 'float32', F16: 'float16', BF16: 'bfloat16' };

/** A model's weights where they lie on disk, as sessions refer to them. */
export interface PlacedWeights {
  /** The folder from which locations are relative: the nearest one that holds all real files. */
  readonly folder: string;
  readonly type: (name: string) => DType;
  readonly place: (name: string) => Place;
}

/** The nearest folder that holds all of these absolute paths. */
function commonFolder(files: readonly string[]): string {
  let folder = dirname(files[0] as string);
  while (!files.every((file) => file.startsWith(folder.endsWith(sep) ? folder : folder + sep))) {
    if (dirname(folder) === folder)
      throw new UserError(`the model's weight files lie on different drives (${files.join(', ')}): put them on one`);
    folder = dirname(folder);
  }
  return folder;
}

/**
 * Where each weight of the model lies, in a store that fits it (`openModelFolder` checks that).
 * Symbolic links are followed to the real files, since ONNX Runtime refuses files that turn out to lie outside its folder.
 */
export async function placeWeights(config: LlamaConfig, store: TensorStore): Promise<PlacedWeights> {
  const entries = new Map<
    string,
    { readonly type: DType; readonly place: Omit<Place, 'location'>; readonly file: string }
  >();
  const real = new Map<string, string>();
  for (const name of weightShapes(config).keys()) {
    const stored = store.tensors.get(name);
    const type = stored && types[stored.dtype];
    if (stored === undefined || type === undefined) throw new Error(`${store.path}: ${name} was not checked`);
    let file = real.get(stored.file);
    if (file === undefined) {
      file = await realpath(stored.file);
      real.set(stored.file, file);
    }
    entries.set(name, { type, file, place: { offset: stored.offset, length: stored.length } });
  }
  const folder = commonFolder([...real.values()]);
  const entry = (name: string) => {
    const found = entries.get(name);
    if (found === undefined) throw new Error(`the model has no weight ${name}`);
    return found;
  };
  return {
    folder,
    type: (name) => entry(name).type,
    place: (name) => {
      const { file, place } = entry(name);
      return { location: relative(folder, file), ...place };
    },
  };
}
