import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { UserError } from '../../errors.ts';
import { openSafetensors, type TensorStore } from '../../formats/files/safetensors.ts';
import { encodeModel } from '../../graph/proto.ts';
import type { LoraLayout } from '../../lora/adapter.ts';
import { parseConfig, type LlamaConfig } from '../../models/config.ts';
import type { Engine } from '../engine.ts';
import { fullTraining, type FullTraining } from '../full-training.ts';
import { loraEngine } from '../lora-engine.ts';
import { checkProvider, openSession, type RuntimeOptions } from './session.ts';
import { placeWeights } from './weights.ts';

/** A model folder, read as far as its headers. */
export interface BaseModel {
  readonly config: LlamaConfig;
  readonly store: TensorStore;
}

async function readJson(path: string): Promise<unknown> {
  try {
    return JSON.parse(await readFile(path, 'utf8'));
  } catch (error) {
    throw new UserError(`${path}: ${(error as Error).message}`, { cause: error });
  }
}

async function readJsonIfThere(path: string): Promise<unknown> {
  return readJson(path).catch((error: unknown) => {
    const cause = (error as Error).cause as NodeJS.ErrnoException | undefined;
    if (cause?.code === 'ENOENT') return undefined;
    throw error;
  });
}

/** Reads config.json, generation_config.json where there is one, and the headers of the weights. Throws UserError. */
export async function readModel(folder: string): Promise<BaseModel> {
  const where = join(folder, 'config.json');
  const config = parseConfig(
    await readJson(where),
    where,
    await readJsonIfThere(join(folder, 'generation_config.json')),
  );
  return { config, store: await openSafetensors(folder) };
}

/**
 * Opens a base model for training, scoring and generation with adapters of `layout`. The weights are mapped from their files in
 * their own type, never copied. Sessions are compiled when first used. Throws UserError for files that do not fit the model.
 */
export async function openEngine(options: {
  readonly model: string | BaseModel;
  readonly layout: LoraLayout;
  readonly runtime?: RuntimeOptions;
}): Promise<Engine> {
  const { layout, runtime } = options;
  checkProvider(runtime?.provider ?? 'cpu');
  const { config, store } = typeof options.model === 'string' ? await readModel(options.model) : options.model;
  const weights = await placeWeights(config, store);
  return loraEngine({
    config,
    layout,
    types: weights.type,
    open: (graph) => openSession(encodeModel(graph.finish(weights.place)), weights.folder, runtime),
  });
}

/** Opens training of every weight of a model of this shape; its weights are given at each step. */
export const openFullTraining = (config: LlamaConfig, runtime?: RuntimeOptions): FullTraining =>
  fullTraining(config, (graph) => openSession(encodeModel(graph.finish(unplaced)), undefined, runtime));

function unplaced(name: string): never {
  throw new Error(`${name} should be an input of this graph`);
}
