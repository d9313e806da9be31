import type { Tensor, Tensors } from '../tensor/tensor.ts';
import { countNumbers } from '../tensor/tensors.ts';

/** The kept numbers of a tensor, by their position in row-major order, ascending. All others are 0. */
export interface Sparse {
  readonly shape: readonly number[];
  readonly indices: Uint32Array;
  readonly values: Float32Array;
}

/**
 * The `keep` numbers of largest size over all tensors together; of equal ones the first. Throws where `keep` is not a whole
 * number from 1 to how many there are, or a number is not finite.
 */
export function topK(tensors: Tensors, keep: number): ReadonlyMap<string, Sparse> {
  const total = countNumbers(tensors);
  if (!(Number.isSafeInteger(keep) && keep >= 1 && keep <= total)) {
    throw new Error(`top-k must keep a whole number from 1 to ${total}, not ${keep}`);
  }
  const { least, ties } = threshold(tensors, keep, total);
  let room = ties;
  const out = new Map<string, Sparse>();
  for (const [name, { shape, data }] of tensors) {
    const indices: number[] = [];
    for (let i = 0; i < data.length; i++) {
      const size = Math.abs(data[i]!);
      if (size > least || (size === least && room-- > 0)) indices.push(i);
    }
    out.set(name, { shape, indices: Uint32Array.from(indices), values: Float32Array.from(indices, (i) => data[i]!) });
  }
  return out;
}

/** The size of the smallest number kept, and how many of that size are. */
function threshold(tensors: Tensors, keep: number, total: number): { readonly least: number; readonly ties: number } {
  const sizes = new Float32Array(total);
  let at = 0;
  for (const [name, { data }] of tensors) {
    for (const x of data) {
      if (!Number.isFinite(x)) throw new Error(`tensor "${name}" holds ${x} and cannot be compressed`);
      sizes[at++] = Math.abs(x);
    }
  }
  sizes.sort();
  const least = sizes[total - keep]!;
  let ties = 0;
  for (let i = total - keep; i < total && sizes[i] === least; i++) ties++;
  return { least, ties };
}

/** The tensors that the kept numbers stand for. */
export function fromTopK(sparse: ReadonlyMap<string, Sparse>): Tensors {
  const out = new Map<string, Tensor>();
  for (const [name, { shape, indices, values }] of sparse) {
    const data = new Float32Array(shape.reduce((size, n) => size * n, 1));
    for (const [k, i] of indices.entries()) data[i] = values[k]!;
    out.set(name, { shape, data });
  }
  return out;
}
