import { access } from 'node:fs/promises';
import { join } from 'node:path';
import { UserError } from '../../errors.ts';
import type { Adapter } from '../../lora/adapter.ts';
import type { Projection } from '../../lora/layout.ts';
import { adapterFromPeft, adapterToPeft } from '../peft-adapter.ts';
import { parsePeftConfig, type PeftConfig } from '../peft.ts';
import { writeAtomically } from './atomic.ts';
import { readOptionalJson } from './json.ts';
import { openSafetensors, readTensor, type TensorStore } from './safetensors.ts';
import { writeSafetensors } from './safetensors-write.ts';

const CONFIG = 'adapter_config.json';
const TENSORS = 'adapter_model.safetensors';

const exists = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  );

/** An adapter folder's config, and its tensors with only their headers read. Throws UserError for what is missing, malformed or not plain LoRA. */
export async function openAdapter(
  folder: string,
): Promise<{ readonly config: PeftConfig; readonly tensors: TensorStore['tensors'] }> {
  const json = await readOptionalJson(join(folder, CONFIG));
  if (json === undefined && (await exists(join(folder, 'mix.json'))))
    throw new UserError(`${folder}: holds a mix of adapters (mix.json), not one adapter; each folder in it is one`);
  if (json === undefined)
    throw new UserError(`${folder}: has no ${CONFIG}; an adapter is a folder as PEFT's save_pretrained writes it`);
  const config = parsePeftConfig(json, join(folder, CONFIG));
  const file = join(folder, TENSORS);
  if (!(await exists(file))) {
    const pickle = await exists(join(folder, 'adapter_model.bin'));
    throw new UserError(
      `${folder}: has no ${TENSORS}${pickle ? '; adapter_model.bin is not read, save it again with safe_serialization=True' : ''}`,
    );
  }
  return { config, tensors: (await openSafetensors(file)).tensors };
}

/**
 * Reads a PEFT adapter folder for a base model with these projections (all of them, in the model's order), of any float type.
 * Throws UserError where it is missing, malformed, not plain LoRA, not finite, or does not fit the base.
 */
export async function readAdapter(folder: string, projections: readonly Projection[]): Promise<Adapter> {
  const { config, tensors } = await openAdapter(folder);
  const read = new Map<string, Awaited<ReturnType<typeof readTensor>>>();
  for (const [name, stored] of tensors) read.set(name, await readTensor(stored));
  return adapterFromPeft(config, read, projections, folder);
}

export interface WriteAdapterOptions {
  /** base_model_name_or_path: the Hub's name or the folder of the base model. */
  readonly baseModel: string;
  /** All projections of the base model: then target_modules has short names where these say the same. */
  readonly projections?: readonly Projection[];
  readonly signal?: AbortSignal;
}

/** Writes a folder that PEFT loads: float32 factors, rank_pattern and alpha_pattern where modules differ. The config comes last. */
export async function writeAdapter(folder: string, adapter: Adapter, options: WriteAdapterOptions): Promise<void> {
  const { config, tensors } = adapterToPeft(adapter, options.baseModel, options.projections);
  const signal = options.signal === undefined ? {} : { signal: options.signal };
  await writeSafetensors(join(folder, TENSORS), tensors, signal);
  await writeAtomically(join(folder, CONFIG), `${JSON.stringify(config, undefined, 2)}\n`, options.signal);
}
