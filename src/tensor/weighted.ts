import { requireSameShapes } from './tensors.ts';
import type { Tensor, Tensors } from './tensor.ts';

/** One term of a weighted sum. */
export interface Weighted {
  readonly tensors: Tensors;
  readonly weight: number;
}

// Numbers per block: the float64 accumulator (32 KiB) stays in the first-level cache while the parts stream through it.
const BLOCK = 4096;

/**
 * Σ weight·tensors, accumulated in float64 in the given order and rounded to float32 once, so the result depends on
 * the order of the parts alone. All parts need the same names and shapes; the order of names is the first part's.
 */
export function weightedSum(parts: readonly Weighted[]): Tensors {
  return combine(parts, 1);
}

/** Σ weight·tensors / Σ weight, like `weightedSum`. Throws where the weights are negative, not finite, or sum to 0. */
export function weightedMean(parts: readonly Weighted[]): Tensors {
  let total = 0;
  for (const { weight } of parts) {
    if (!(weight >= 0 && weight < Infinity)) throw new Error(`a mean needs weights of at least 0, not ${weight}`);
    total += weight;
  }
  if (total === 0 && parts.length > 0) throw new Error('a mean needs a weight above 0; all are 0');
  return combine(parts, total);
}

function combine(parts: readonly Weighted[], divisor: number): Tensors {
  const [first, ...rest] = parts;
  if (first === undefined) throw new Error('nothing to sum: there are no parts');
  for (const [i, part] of rest.entries())
    requireSameShapes(first.tensors, part.tensors, `parts 1 and ${i + 2} of a sum`);
  const dataOf = (k: number, name: string): Float32Array => rest[k]!.tensors.get(name)!.data;
  const terms = (k: number, name: string): readonly Term[] =>
    rest.slice(k, k + 4).map(({ weight }, i) => ({ data: dataOf(k + i, name), weight }));
  const sum = new Float64Array(BLOCK);
  const out = new Map<string, Tensor>();
  for (const [name, { shape, data }] of first.tensors) {
    const result = new Float32Array(data.length);
    for (let from = 0; from < data.length; from += BLOCK) {
      const length = Math.min(BLOCK, data.length - from);
      assign(sum, data, from, length, first.weight);
      let k = 0;
      for (; k + 4 <= rest.length; k += 4) accumulate4(sum, terms(k, name), from, length);
      for (; k < rest.length; k++) accumulate(sum, dataOf(k, name), from, length, rest[k]!.weight);
      for (let i = 0; i < length; i++) result[from + i] = sum[i]! / divisor;
    }
    out.set(name, { shape, data: result });
  }
  return out;
}

function assign(sum: Float64Array, data: Float32Array, from: number, length: number, weight: number): void {
  for (let i = 0; i < length; i++) sum[i] = weight * data[from + i]!;
}

/** Adds weight·data[from … from + length − 1]. */
export function accumulate(sum: Float64Array, data: Float32Array, from: number, length: number, weight: number): void {
  for (let i = 0; i < length; i++) sum[i] = sum[i]! + weight * data[from + i]!;
}

export interface Term {
  readonly data: Float32Array;
  readonly weight: number;
}

/** `accumulate` of four terms, one after the other, in one pass over the sum: the same bits. */
export function accumulate4(sum: Float64Array, terms: readonly Term[], from: number, length: number): void {
  const [a, b, c, d] = terms.map(({ data }) => data) as [Float32Array, Float32Array, Float32Array, Float32Array];
  const [p, q, r, s] = terms.map(({ weight }) => weight) as [number, number, number, number];
  for (let i = 0, j = from; i < length; i++, j++) sum[i] = sum[i]! + p * a[j]! + q * b[j]! + r * c[j]! + s * d[j]!;
}
