import type { Tensor } from '../tensor/tensor.ts';
import { getTensor } from '../tensor/tensors.ts';
import { type Adapter, keyOfA, keyOfB, type LoraModule } from './adapter.ts';

/** W0 + scale·B·A for one module: `weight` is W0 [out, in] as Hugging Face stores it. Summed in float64, rounded once. */
export function mergeModule(adapter: Adapter, module: string, weight: Tensor): Tensor {
  const { inFeatures, outFeatures, rank, scale } = moduleOf(adapter, module);
  if (weight.shape.length !== 2 || weight.shape[0] !== outFeatures || weight.shape[1] !== inFeatures) {
    const has = weight.shape.join(', ');
    throw new Error(`the weight of ${module} has shape [${has}]; the adapter is for [${outFeatures}, ${inFeatures}]`);
  }
  const a = getTensor(adapter.factors, keyOfA(module)).data;
  const b = getTensor(adapter.factors, keyOfB(module)).data;
  const out = new Float32Array(weight.data.length);
  const row = new Float64Array(inFeatures);
  for (let o = 0; o < outFeatures; o++) {
    const from = o * inFeatures;
    for (let i = 0; i < inFeatures; i++) row[i] = weight.data[from + i]!;
    for (let r = 0; r < rank; r++) addRow(row, a, r * inFeatures, scale * b[o * rank + r]!);
    for (let i = 0; i < inFeatures; i++) out[from + i] = row[i]!;
  }
  return { shape: weight.shape, data: out };
}

function addRow(row: Float64Array, a: Float32Array, from: number, factor: number): void {
  for (let i = 0; i < row.length; i++) row[i] = row[i]! + factor * a[from + i]!;
}

function moduleOf({ layout }: Adapter, name: string): LoraModule {
  const found = layout.modules.find((module) => module.name === name);
  if (found === undefined) throw new Error(`the adapter has no module ${name}`);
  return found;
}
