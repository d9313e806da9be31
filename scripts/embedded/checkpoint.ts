import { existsSync } from 'node:fs';
import { openSafetensors, readTensor } from '../../src/formats/files/safetensors.ts';
import { writeSafetensors } from '../../src/formats/files/safetensors-write.ts';
import { weightShapes } from '../../src/models/weights.ts';
import type { AdamState } from '../../src/optim/adamw.ts';
import type { Tensor, Tensors } from '../../src/tensor/tensor.ts';
import { modelConfig } from './model.ts';

/** Where a training stands: the weights and AdamW's state after `adam.step` steps of the run that `recipe` describes. */
export interface Checkpoint {
  readonly recipe: string;
  readonly weights: Tensors;
  readonly adam: AdamState;
}

/** How the names of a checkpoint's tensors begin. */
type Part = 'weight' | 'first' | 'second';

/** Written whole or not at all: a killed training finds the one before. */
export async function saveCheckpoint(file: string, { recipe, weights, adam }: Checkpoint): Promise<void> {
  const tensors = new Map<string, Tensor>();
  const add = (part: Part, from: Tensors): void => {
    for (const [name, tensor] of from) tensors.set(`${part} ${name}`, tensor);
  };
  add('weight', weights);
  add('first', adam.first);
  add('second', adam.second);
  await writeSafetensors(file, tensors, { metadata: { recipe, step: String(adam.step) } });
}

/** The checkpoint in a file; undefined where there is none, or one of another recipe. */
export async function loadCheckpoint(file: string, recipe: string): Promise<Checkpoint | undefined> {
  if (!existsSync(file)) return undefined;
  const store = await openSafetensors(file);
  if (store.metadata.get('recipe') !== recipe) return undefined;
  const read = async (part: Part): Promise<Tensors> => {
    const tensors = new Map<string, Tensor>();
    // In the model's order, not the file's: the same maps as without an interruption.
    for (const name of weightShapes(modelConfig).keys()) {
      const stored = store.tensors.get(`${part} ${name}`);
      if (stored === undefined) throw new Error(`${file} has no ${part} of ${name}: delete it to start anew`);
      tensors.set(name, await readTensor(stored));
    }
    return tensors;
  };
  const [weights, first, second] = [await read('weight'), await read('first'), await read('second')];
  return { recipe, weights, adam: { step: Number(store.metadata.get('step')), first, second } };
}
