import type { Tensor, Tensors } from '../tensor/tensor.ts';
import { getTensor, mapTensors } from '../tensor/tensors.ts';
import { keyOfB, type AdapterMix, type LoraLayout } from './adapter.ts';
import { keyOfParts, partsTensors } from './gate.ts';

/** How a mix of two is weighed prompt by prompt, as tensors beside its stacked factors: [prompts, hidden], and one number. */
const REFERENCES = 'likeness.references';
const FACTOR = 'likeness.factor';

/** Whether a mix is weighed prompt by prompt. Throws where it is not the first of two parts that its prompts speak for. */
export function isByPrompt(mix: AdapterMix): boolean {
  if (mix.every(({ likeness }) => likeness === undefined)) return false;
  const [first, second] = mix;
  if (mix.length !== 2 || first!.likeness === undefined || second!.likeness !== undefined)
    throw new Error('a mix that is weighed by likeness has two parts, and the first has the prompts');
  return true;
}

/** What `weighedFor` needs beside the stacked factors of both parts, each of weight 1. */
export function likenessTensors(mix: AdapterMix): Tensors {
  const { references, factor } = mix[0]!.likeness!;
  return new Map([
    [REFERENCES, references],
    [FACTOR, { shape: [1], data: Float32Array.of(factor) }],
    ...partsTensors(mix),
  ]);
}

/** Whether these are factors of a mix that is weighed prompt by prompt: an engine has to be fed `weighedFor` of them. */
export const hasLikeness = (factors: Tensors): boolean => factors.has(REFERENCES);

/**
 * α = factor · the mean cosine of a prompt's representation [hidden] with those of the references, kept within 0 … 1: cosines may be
 * negative. A vector of zeros is like nothing. Source: FedDPA's code (arXiv 2403.19211).
 */
export function shareOf(factors: Tensors, representation: Float32Array): number {
  const { shape, data } = getTensor(factors, REFERENCES);
  const [count, hidden] = shape as [number, number];
  let sum = 0;
  for (let p = 0; p < count; p++) sum += cosine(data.subarray(p * hidden, (p + 1) * hidden), representation);
  const share = (getTensor(factors, FACTOR).data[0]! * sum) / count;
  return Math.min(1, Math.max(0, share));
}

function cosine(x: Float32Array, y: Float32Array): number {
  let [xy, xx, yy] = [0, 0, 0];
  for (let i = 0; i < x.length; i++) {
    xy += x[i]! * y[i]!;
    xx += x[i]! ** 2;
    yy += y[i]! ** 2;
  }
  return xx > 0 && yy > 0 ? xy / Math.sqrt(xx * yy) : 0;
}

/** The stacked factors with these weights of the two parts in B, and nothing beside them: what a graph is fed. */
export function weighedFor({ modules }: LoraLayout, factors: Tensors, weights: readonly [number, number]): Tensors {
  const plain = new Map([...factors].filter(([key]) => key !== REFERENCES && key !== FACTOR));
  const scales = new Map<string, Float32Array>();
  for (const { name } of modules) {
    const { shape, data } = getTensor(factors, keyOfParts(name));
    const rank = shape[1]!;
    plain.delete(keyOfParts(name));
    scales.set(
      keyOfB(name),
      Float32Array.from({ length: rank }, (_, r) => weights[0] * data[r]! + weights[1] * data[rank + r]!),
    );
  }
  return mapTensors(plain, (tensor, key) => timesColumns(tensor, scales.get(key)));
}

function timesColumns(tensor: Tensor, scales: Float32Array | undefined): Tensor {
  if (scales === undefined) return tensor;
  return { shape: tensor.shape, data: tensor.data.map((x, i) => x * scales[i % scales.length]!) };
}
