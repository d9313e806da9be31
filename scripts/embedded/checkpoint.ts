import { existsSync } from 'node:fs';
import { openSafetensors, readTensor } from '../../src/formats/files/safetensors.ts';
import { writeSafetensors } from '../../src/formats/files/safetensors-write.ts';
import type { AdamState } from '../../src/optim/adamw.ts';
import type { Tensor, Tensors } from '../../src/tensor/tensor.ts';

/** Where a training stands: the weights and AdamW's state after `adam.step` steps of the run that `recipe` describes. */
export interface Checkpoint {
  readonly recipe: string;
  readonly weights: Tensors;
  readonly adam: AdamState;
}

const parts = { weight: 'weights', first: 'first', second: 'second' } as const;

/** Written whole or not at all: a killed training finds the one before. */
export async function saveCheckpoint(file: string, { recipe, weights, adam }: Checkpoint): Promise<void> {
  const tensors = new Map<string, Tensor>();
  const add = (part: keyof typeof parts, from: Tensors): void => {
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
  const found = {
    weight: new Map<string, Tensor>(),
    first: new Map<string, Tensor>(),
    second: new Map<string, Tensor>(),
  };
  for (const [name, stored] of store.tensors) {
    const [part, rest] = [name.slice(0, name.indexOf(' ')), name.slice(name.indexOf(' ') + 1)];
    found[part as keyof typeof parts].set(rest, await readTensor(stored));
  }
  const { weight: weights, first, second } = found;
  return { recipe, weights, adam: { step: Number(store.metadata.get('step')), first, second } };
}
