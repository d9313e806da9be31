import { times } from './blocked.ts';
import type { Tensor } from './tensor.ts';

/** A matrix as its columns, in float64. All columns have the same length. */
export type Columns = readonly Float64Array[];

/** The columns of a tensor [rows, columns], times `factor`. */
export function columnsOf({ shape, data }: Tensor, factor = 1): Columns {
  const [rows, columns] = shape as [number, number];
  return Array.from({ length: columns }, (_, c) => {
    const column = new Float64Array(rows);
    for (let r = 0, i = c; r < rows; r++, i += columns) column[r] = factor * data[i]!;
    return column;
  });
}

/** The rows of a tensor [rows, columns]: the columns of its transpose. */
export function rowsOf({ shape, data }: Tensor): Columns {
  const [rows, columns] = shape as [number, number];
  return Array.from({ length: rows }, (_, r) => new Float64Array(data.subarray(r * columns, (r + 1) * columns)));
}

/** The tensor [rows, columns] with these columns, rounded to float32 once. */
export function fromColumns(columns: Columns, rows: number): Tensor {
  const data = new Float32Array(rows * columns.length);
  const step = columns.length;
  for (const [c, column] of columns.entries()) for (let r = 0, i = c; r < rows; r++, i += step) data[i] = column[r]!;
  return { shape: [rows, columns.length], data };
}

/** The tensor [rows, columns] with these rows, rounded to float32 once. */
export function fromRows(rows: Columns, columns: number): Tensor {
  const data = new Float32Array(rows.length * columns);
  for (const [r, row] of rows.entries()) data.set(row, r * columns);
  return { shape: [rows.length, columns], data };
}

/** Four sums beside each other: a single one would wait for each addition. */
export function inner(a: Float64Array, b: Float64Array): number {
  let [p, q, r, s] = [0, 0, 0, 0];
  let i = 0;
  for (; i + 4 <= a.length; i += 4) {
    p += a[i]! * b[i]!;
    q += a[i + 1]! * b[i + 1]!;
    r += a[i + 2]! * b[i + 2]!;
    s += a[i + 3]! * b[i + 3]!;
  }
  for (; i < a.length; i++) p += a[i]! * b[i]!;
  return p + q + (r + s);
}

/** a ← a + factor·b. */
function accumulate(a: Float64Array, b: Float64Array, factor: number): void {
  for (let i = 0; i < a.length; i++) a[i] = a[i]! + factor * b[i]!;
}

/** Σ weights[i]·columns[i]. */
export function combination(columns: Columns, weights: ArrayLike<number>): Float64Array {
  const out = new Float64Array(columns[0]?.length ?? 0);
  for (const [i, column] of columns.entries()) accumulate(out, column, weights[i]!);
  return out;
}

/** X = Q·R with k = min(rows, columns): Q [rows, k] orthonormal, R [k, columns] upper triangular. Householder reflections. */
export function thinQr(x: Columns): { readonly q: Columns; readonly r: Columns } {
  const rows = x[0]?.length ?? 0;
  const k = Math.min(rows, x.length);
  const work = x.map((column) => column.slice());
  const reflectors: Float64Array[] = [];
  for (let j = 0; j < k; j++) {
    const reflector = householder(work[j]!, j);
    reflectors.push(reflector);
    for (let c = j; c < work.length; c++) reflect(work[c]!, reflector, j);
  }
  const r = work.map((column) => column.slice(0, k));
  for (const [c, column] of r.entries()) column.fill(0, c + 1);
  const q = Array.from({ length: k }, (_, c) => {
    const column = new Float64Array(rows);
    column[c] = 1;
    for (let j = k - 1; j >= 0; j--) reflect(column, reflectors[j]!, j);
    return column;
  });
  return { q, r };
}

/** The unit vector v, zero before `from`, for which (I − 2vvᵀ)·x is zero after `from`; zero where x already is. */
function householder(x: Float64Array, from: number): Float64Array {
  const v = x.slice();
  v.fill(0, 0, from);
  const length = Math.sqrt(inner(v, v));
  v[from] = v[from]! + (v[from]! >= 0 ? length : -length);
  const own = Math.sqrt(inner(v, v));
  if (own > 0) for (let i = from; i < v.length; i++) v[i] = v[i]! / own;
  return v;
}

/** x ← (I − 2vvᵀ)·x for a v that is zero before `from`. */
function reflect(x: Float64Array, v: Float64Array, from: number): void {
  const twice = 2 * inner(from === 0 ? x : x.subarray(from), from === 0 ? v : v.subarray(from));
  for (let i = from; i < x.length; i++) x[i] = x[i]! - twice * v[i]!;
}

/** X = U·diag(sigma)·Vᵀ, singular values from the largest; k = min(rows, columns) of each. */
export interface Svd {
  readonly u: Columns;
  readonly sigma: Float64Array;
  readonly v: Columns;
}

/**
 * Thin SVD by one-sided Jacobi rotations (Hestenes), accurate also for small singular values. Where a singular value is zero
 * to rounding, it is 0 and its columns of U and V are zero vectors: they belong to no direction of X.
 */
export function thinSvd(x: Columns): Svd {
  const rows = x[0]?.length ?? 0;
  if (rows < x.length) {
    const { u, sigma, v } = thinSvd(transposed(x, rows));
    return { u: v, sigma, v: u };
  }
  const work = x.map((column) => column.slice());
  const v = x.map((_, i) => Float64Array.from({ length: x.length }, (_, j) => (i === j ? 1 : 0)));
  for (let sweep = 0; sweep < 60 && rotateAll(work, v); sweep++);
  const norms = work.map((column) => Math.sqrt(inner(column, column)));
  const order = norms.map((_, i) => i).sort((a, b) => norms[b]! - norms[a]!);
  const least = (norms[order[0] ?? 0] ?? 0) * rows * Number.EPSILON;
  const zero = (i: number): boolean => norms[i]! <= least;
  return {
    u: order.map((i) => (zero(i) ? new Float64Array(rows) : work[i]!.map((value) => value / norms[i]!))),
    sigma: Float64Array.from(order, (i) => (zero(i) ? 0 : norms[i]!)),
    v: order.map((i) => (zero(i) ? new Float64Array(x.length) : v[i]!)),
  };
}

export function transposed(x: Columns, rows: number): Columns {
  return Array.from({ length: rows }, (_, r) => Float64Array.from(x, (column) => column[r]!));
}

/** One sweep over all pairs of columns; whether any had to be turned. */
function rotateAll(work: readonly Float64Array[], v: readonly Float64Array[]): boolean {
  let turned = false;
  for (let i = 0; i < work.length; i++) {
    for (let j = i + 1; j < work.length; j++) {
      const [x, y] = [work[i]!, work[j]!];
      const [xx, yy, xy] = [inner(x, x), inner(y, y), inner(x, y)];
      if (Math.abs(xy) <= Number.EPSILON * Math.sqrt(xx * yy) || xy === 0) continue;
      turned = true;
      const zeta = (yy - xx) / (2 * xy);
      const t = (zeta >= 0 ? 1 : -1) / (Math.abs(zeta) + Math.sqrt(1 + zeta * zeta));
      const cosine = 1 / Math.sqrt(1 + t * t);
      turn(x, y, cosine, cosine * t);
      turn(v[i]!, v[j]!, cosine, cosine * t);
    }
  }
  return turned;
}

function turn(x: Float64Array, y: Float64Array, cosine: number, sine: number): void {
  for (let i = 0; i < x.length; i++) {
    const [a, b] = [x[i]!, y[i]!];
    x[i] = cosine * a - sine * b;
    y[i] = sine * a + cosine * b;
  }
}

/**
 * SVD of B·A from its thin factors, columns of B [rows, R] and rows of A [R, columns]: QR of both, then the SVD of the core
 * R_B·R_Aᵀ. The rows × columns product is never formed where R is smaller.
 */
export function svdOfProduct(b: Columns, a: Columns): Svd {
  const [left, right] = [thinQr(b), thinQr(a)];
  // Column j of the core is Σ_c R_B[:, c]·R_A[j, c].
  const core = right.q.map((_, j) =>
    combination(
      left.r,
      right.r.map((column) => column[j]!),
    ),
  );
  const { u, sigma, v } = thinSvd(core);
  return {
    u: times(left.q, u, b[0]?.length ?? 0),
    sigma,
    v: times(right.q, v, a[0]?.length ?? 0),
  };
}

/** Solves X·S = Y for rows of X, S symmetric positive definite [k, k] as its columns. Throws where S is not. */
export function solveRows(y: Columns, s: Columns): Columns {
  const l = cholesky(s);
  return y.map((row) => {
    const x = row.slice();
    for (let i = 0; i < x.length; i++) {
      for (let j = 0; j < i; j++) x[i] = x[i]! - l[i]![j]! * x[j]!;
      x[i] = x[i]! / l[i]![i]!;
    }
    for (let i = x.length - 1; i >= 0; i--) {
      for (let j = i + 1; j < x.length; j++) x[i] = x[i]! - l[j]![i]! * x[j]!;
      x[i] = x[i]! / l[i]![i]!;
    }
    return x;
  });
}

/** S = L·Lᵀ; L by rows. */
function cholesky(s: Columns): Columns {
  const l = s.map((column) => new Float64Array(column.length));
  for (let i = 0; i < s.length; i++) {
    for (let j = 0; j <= i; j++) {
      let sum = s[i]![j]!;
      for (let k = 0; k < j; k++) sum -= l[i]![k]! * l[j]![k]!;
      if (i !== j) l[i]![j] = sum / l[j]![j]!;
      else if (sum > 0) l[i]![i] = Math.sqrt(sum);
      else throw new Error('the matrix is not positive definite');
    }
  }
  return l;
}
