import type { Tensor, Tensors } from '../tensor/tensor.ts';
import { getTensor } from '../tensor/tensors.ts';
import { keyOfA, keyOfB, type LoraLayout } from './adapter.ts';

/** The layout of an adapter whose modules have at most this rank; the scale stays, so alpha falls with the rank. */
export const layoutAtRank = ({ modules, rslora }: LoraLayout, rank: number): LoraLayout => ({
  rslora,
  modules: modules.map((module) => {
    const own = Math.min(rank, module.rank);
    return { ...module, rank: own, alpha: module.scale * (rslora ? Math.sqrt(own) : own) };
  }),
});

/** The factors at another rank: the first rows of A and columns of B, or zeros after them. Truncating undoes padding. */
export function factorsAtRank(layout: LoraLayout, factors: Tensors): Tensors {
  const out = new Map<string, Tensor>();
  for (const { name, rank } of layout.modules) {
    out.set(keyOfA(name), resize(getTensor(factors, keyOfA(name)), rank, undefined));
    out.set(keyOfB(name), resize(getTensor(factors, keyOfB(name)), undefined, rank));
  }
  return out;
}

function resize(tensor: Tensor, rows: number | undefined, columns: number | undefined): Tensor {
  const [hadRows, hadColumns] = tensor.shape as [number, number];
  const [toRows, toColumns] = [rows ?? hadRows, columns ?? hadColumns];
  if (toRows === hadRows && toColumns === hadColumns) return tensor;
  const data = new Float32Array(toRows * toColumns);
  const width = Math.min(hadColumns, toColumns);
  for (let r = 0; r < Math.min(hadRows, toRows); r++) {
    data.set(tensor.data.subarray(r * hadColumns, r * hadColumns + width), r * toColumns);
  }
  return { shape: [toRows, toColumns], data };
}
