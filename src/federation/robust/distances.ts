import { keyOfA, keyOfB } from '../../lora/adapter.ts';
import { columnsOf, rowsOf, type Columns } from '../../tensor/linalg.ts';
import { addSquaredDistances, allPairs, gram, noPairs } from '../../tensor/pairwise.ts';
import type { Tensor, Tensors } from '../../tensor/tensor.ts';
import { getTensor } from '../../tensor/tensors.ts';
import { requireUpdates } from './updates.ts';

/** Squared distances between all pairs of `count` updates: entry i·count + j. Symmetric, with zeros on the diagonal. */
export interface Distances {
  readonly count: number;
  readonly squared: Float64Array;
}

/** ‖x_i − x_j‖² over all tensors, from the differences in float64: ‖x‖² + ‖y‖² − 2xy would cancel for close updates. */
export function squaredDistances(updates: readonly Tensors[]): Distances {
  requireUpdates(updates);
  const pairs = noPairs(updates.length);
  for (const name of updates[0]!.keys())
    addSquaredDistances(
      pairs,
      updates.map((update) => update.get(name)!.data),
    );
  return { count: updates.length, squared: allPairs(pairs) };
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
    const products = factors.map((each) =>
      thin({ a: getTensor(each, keyOfA(name)), b: getTensor(each, keyOfB(name)) }),
    );
    for (let i = 0; i < count; i++) {
      for (let j = i + 1; j < count; j++) {
        const sum = squared[i * count + j]! + scale * scale * between(products[i]!, products[j]!);
        squared[i * count + j] = sum;
        squared[j * count + i] = sum;
      }
    }
  }
  return { count, squared };
}

interface Pair {
  /** [rank, inFeatures] */
  readonly a: Tensor;
  /** [outFeatures, rank] */
  readonly b: Tensor;
}

/** B·A as the columns of B and the rows of A. */
interface Thin {
  readonly columns: Columns;
  readonly rows: Columns;
}

const thin = ({ a, b }: Pair): Thin => ({ columns: columnsOf(b), rows: rowsOf(a) });

/**
 * ‖B₁A₁ − B₂A₂‖²_F. The difference is [B₁ − B₂, B₂]·[A₁; A₁ − A₂], so that close factors give small terms and nothing cancels; the norm of a thin
 * product L·R is the sum of (LᵀL) ∘ (R·Rᵀ).
 */
function between(one: Thin, two: Thin): number {
  const rank = Math.max(one.rows.length, two.rows.length);
  const [b1, b2, a1, a2] = [one.columns, two.columns, one.rows, two.rows].map((vectors) => padded(vectors, rank)) as [
    Columns,
    Columns,
    Columns,
    Columns,
  ];
  const left = gram([...b1.map((column, r) => difference(column, b2[r]!)), ...b2]);
  const right = gram([...a1, ...a1.map((row, r) => difference(row, a2[r]!))]);
  return Math.max(
    0,
    left.reduce((sum, product, i) => sum + product * right[i]!, 0),
  );
}

/** Zeros up to `rank` vectors. */
const padded = (vectors: Columns, rank: number): Columns =>
  Array.from({ length: rank }, (_, r) => vectors[r] ?? new Float64Array(vectors[0]!.length));

function difference(x: Float64Array, y: Float64Array): Float64Array {
  const out = new Float64Array(x.length);
  for (let i = 0; i < out.length; i++) out[i] = x[i]! - y[i]!;
  return out;
}
