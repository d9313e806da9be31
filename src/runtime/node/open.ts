import { openModelFolder, type ModelFolder } from '../../formats/files/model.ts';
import { encodeModel } from '../../graph/proto.ts';
import type { LoraLayout } from '../../lora/adapter.ts';
import type { LlamaConfig } from '../../models/config.ts';
import type { Engine } from '../engine.ts';
import { fullTraining, type FullTraining } from '../full-training.ts';
import { loraEngine } from '../lora-engine.ts';
import { checkProvider, openSession, type RuntimeOptions } from './session.ts';
import { placeWeights } from './weights.ts';

/** What the engine takes of a model folder that `openModelFolder` has opened and checked. */
export type BaseModel = Pick<ModelFolder, 'config' | 'store'>;

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
  const { config, store } = typeof options.model === 'string' ? await openModelFolder(options.model) : options.model;
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
