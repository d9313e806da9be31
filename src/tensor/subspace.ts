import { products, times } from './blocked.ts';
import { svdOfProduct, thinQr, thinSvd, type Columns, type Svd } from './linalg.ts';
import { stream } from './random.ts';

/** A matrix as what it does: X·V, and Xᵀ·U. */
interface Operator {
  readonly rows: number;
  readonly columns: number;
  times(v: Columns): Columns;
  timesTransposed(u: Columns): Columns;
}

/** The largest `rank` singular values of a dense X with their vectors; see `leading`. */
export function leadingSvd(x: Columns, rank: number): Svd {
  const rows = x[0]?.length ?? 0;
  const dense = {
    rows,
    columns: x.length,
    times: (v: Columns) => times(x, v, rows),
    timesTransposed: (u: Columns) => products(x, u),
  };
  return leading(dense, rank);
}

// Up to here the whole SVD takes about a second.
const FEW = 256;

/**
 * The largest `rank` singular values of B·A with their vectors, from columns of B [rows, R] and rows of A [R, columns]; the
 * product is never formed. Where R is large, as for many clients' factors side by side, only they are looked for, to `leading`'s
 * tolerance; else they come from the whole SVD.
 */
export function leadingSvdOfProduct(b: Columns, a: Columns, rank: number): Svd {
  if (b.length <= Math.max(FEW, 3 * rank)) {
    const { u, sigma, v } = svdOfProduct(b, a);
    return { u: u.slice(0, rank), sigma: sigma.slice(0, rank), v: v.slice(0, rank) };
  }
  const [rows, columns] = [b[0]!.length, a[0]!.length];
  const product = {
    rows,
    columns,
    times: (v: Columns) => times(b, products(a, v), rows),
    timesTransposed: (u: Columns) => times(a, products(b, u), columns),
  };
  return leading(product, rank);
}

/**
 * Randomised subspace iteration (Halko, Martinsson and Tropp 2011, algorithm 4.4) with 8 columns more than asked and a fixed
 * stream: the same X gives the same bits. At least 3 iterations, at most 20, until ‖X·V‖² gains less than 1e-9 of itself: that
 * much of X's squared norm may be in other directions than those of the best approximation.
 */
function leading(x: Operator, rank: number): Svd {
  const width = Math.min(rank + 8, x.rows, x.columns);
  const { normal } = stream(0, 'subspace');
  const start = Array.from({ length: width }, () => Float64Array.from({ length: x.columns }, normal));
  let image = x.times(start);
  let energy = 0;
  for (let i = 0; i < 20; i++) {
    const back = thinQr(x.timesTransposed(thinQr(image).q)).q;
    image = x.times(back);
    const before = energy;
    energy = image.reduce((sum, column) => column.reduce((total, value) => total + value * value, sum), 0);
    if (i >= 2 && energy - before <= 1e-9 * energy) break;
  }
  const { q } = thinQr(image);
  const { u, sigma, v } = thinSvd(x.timesTransposed(q));
  // Xᵀ·Q = U·Σ·Vᵀ, so that X ≈ Q·V·Σ·Uᵀ.
  const lifted = times(q, v, x.rows);
  return { u: lifted.slice(0, rank), sigma: sigma.slice(0, rank), v: u.slice(0, rank) };
}
