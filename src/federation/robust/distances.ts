import { getTensor } from '../../tensor/tensors.ts';
import type { Tensor, Tensors } from '../../tensor/tensor.ts';
import { keyOfA, keyOfB } from '../../lora/adapter.ts';
import { requireUpdates } from './updates.ts';

/** Squared distances between all pairs of `count` updates: entry i·count + j. Symmetric, with zeros on the diagonal. */
export interface Distances {
  readonly count: number;
  readonly squared: Float64Array;
}

// Numbers per block: a block of every update stays in the cache while all pairs are compared.
const BLOCK = 2048;

/** ‖x_i − x_j‖² over all tensors, from the differences in float64: ‖x‖² + ‖y‖² − 2xy would cancel for close updates. */
export function squaredDistances(updates: readonly Tensors[]): Distances {
  requireUpdates(updates);
  const count = updates.length;
  const squared = new Float64Array(count * count);
  for (const name of updates[0]!.keys()) {
    const data = updates.map((update) => update.get(name)!.data);
    for (let from = 0; from < data[0]!.length; from += BLOCK) {
      const blocks = data.map((x) => x.subarray(from, from + BLOCK));
      for (let i = 0; i < count; i++) {
        let j = i + 1;
        for (; j + 4 <= count; j += 4) add4(squared, i * count + j, blocks[i]!, blocks, j);
        for (; j < count; j++) squared[i * count + j]! += squaredDistance(blocks[i]!, blocks[j]!);
      }
    }
  }
  return mirrored(squared, count);
}

function squaredDistance(x: Float32Array, y: Float32Array): number {
  let sum = 0;
  for (let k = 0; k < x.length; k++) {
    const d = x[k]! - y[k]!;
    sum += d * d;
  }
  return sum;
}

/** Four others at a time: a single sum would wait for each addition. */
function add4(squared: Float64Array, at: number, x: Float32Array, others: readonly Float32Array[], j: number): void {
  const [a, b, c, d] = [others[j]!, others[j + 1]!, others[j + 2]!, others[j + 3]!];
  let [p, q, r, s] = [0, 0, 0, 0];
  for (let k = 0; k < x.length; k++) {
    const value = x[k]!;
    const da = value - a[k]!;
    const db = value - b[k]!;
    const dc = value - c[k]!;
    const dd = value - d[k]!;
    p += da * da;
    q += db * db;
    r += dc * dc;
    s += dd * dd;
  }
  squared[at]! += p;
  squared[at + 1]! += q;
  squared[at + 2]! += r;
  squared[at + 3]! += s;
}

/** An adapted module as far as distances need it. */
export interface ScaledModule {
  readonly name: string;
  readonly scale: number;
}

/**
 * Σ over modules of ‖s·B_iA_i − s·B_jA_j‖²_F for clients' whole factors (what was broadcast plus the update), never forming a
 * product. Unlike distances of A and B themselves they do not change when a client rotates its factors (B·Q, Q⁻¹·A). Ranks may
 * differ between clients.
 */
export function productDistances(factors: readonly Tensors[], modules: readonly ScaledModule[]): Distances {
  const count = factors.length;
  const squared = new Float64Array(count * count);
  for (const { name, scale } of modules) {
    const pairs = factors.map((each) => ({ a: getTensor(each, keyOfA(name)), b: getTensor(each, keyOfB(name)) }));
    for (let i = 0; i < count; i++) {
      for (let j = i + 1; j < count; j++) {
        squared[i * count + j]! += scale * scale * productDistance(pairs[i]!, pairs[j]!);
      }
    }
  }
  return mirrored(squared, count);
}

interface Pair {
  /** [rank, inFeatures] */
  readonly a: Tensor;
  /** [outFeatures, rank] */
  readonly b: Tensor;
}

/**
 * ‖B₁A₁ − B₂A₂‖²_F. The difference is [B₁ − B₂, B₂]·[A₁; A₁ − A₂], so that close factors give small terms and nothing cancels;
 * the norm of a thin product L·R is the sum of (LᵀL) ∘ (R·Rᵀ).
 */
export function productDistance(one: Pair, two: Pair): number {
  const rank = Math.max(one.a.shape[0]!, two.a.shape[0]!);
  const a1 = rowsOf(one.a, rank);
  const a2 = rowsOf(two.a, rank);
  const b1 = columnsOf(one.b, rank);
  const b2 = columnsOf(two.b, rank);
  const left = [...b1.map((column, r) => difference(column, b2[r]!)), ...b2];
  const right = [...a1, ...a1.map((row, r) => difference(row, a2[r]!))];
  let sum = 0;
  for (let p = 0; p < 2 * rank; p++) {
    for (let q = p; q < 2 * rank; q++)
      sum += (p === q ? 1 : 2) * inner(left[p]!, left[q]!) * inner(right[p]!, right[q]!);
  }
  return Math.max(0, sum);
}

/** The rows of a [k, n] tensor in float64, and zeros up to `rank` of them. */
function rowsOf({ shape, data }: Tensor, rank: number): Float64Array[] {
  const [rows, columns] = [shape[0]!, shape[1]!];
  return Array.from({ length: rank }, (_, r) =>
    r < rows ? Float64Array.from(data.subarray(r * columns, (r + 1) * columns)) : new Float64Array(columns),
  );
}

/** The columns of an [m, k] tensor in float64, and zeros up to `rank` of them. */
function columnsOf({ shape, data }: Tensor, rank: number): Float64Array[] {
  const [rows, columns] = [shape[0]!, shape[1]!];
  return Array.from({ length: rank }, (_, c) =>
    Float64Array.from({ length: rows }, (_, r) => (c < columns ? data[r * columns + c]! : 0)),
  );
}

const difference = (x: Float64Array, y: Float64Array): Float64Array => x.map((value, i) => value - y[i]!);

function inner(x: Float64Array, y: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < x.length; i++) sum += x[i]! * y[i]!;
  return sum;
}

function mirrored(squared: Float64Array, count: number): Distances {
  for (let i = 0; i < count; i++) for (let j = 0; j < i; j++) squared[i * count + j] = squared[j * count + i]!;
  return { count, squared };
}
