import { combination, inner, thinQr, thinSvd, type Columns, type Svd } from './linalg.ts';
import { stream } from './random.ts';

/**
 * The largest `rank` singular values of a dense X with their vectors, by randomised subspace iteration (Halko, Martinsson and
 * Tropp 2011, algorithm 4.4) with 8 columns more than asked and a fixed stream: the same X gives the same bits. Relative
 * errors fall with (σ_{rank+9}/σ_rank) to the power of twice the iterations.
 */
export function leadingSvd(x: Columns, rank: number, iterations = 6): Svd {
  const rows = x[0]?.length ?? 0;
  const width = Math.min(rank + 8, rows, x.length);
  const { normal } = stream(0, 'subspace');
  let q = Array.from({ length: width }, () => combination(x, Float64Array.from(x, normal))) as Columns;
  for (let i = 0; i < iterations; i++) {
    q = thinQr(q).q;
    // Xᵀ·Q, orthonormal, then X times it.
    const back = thinQr(q.map((column) => Float64Array.from(x, (each) => inner(each, column)))).q;
    q = back.map((column) => combination(x, column));
  }
  q = thinQr(q).q;
  const small = x.map((column) => Float64Array.from(q, (each) => inner(each, column)));
  const { u, sigma, v } = thinSvd(small);
  const lifted = u.map((column) => combination(q, column));
  return { u: lifted.slice(0, rank), sigma: sigma.slice(0, rank), v: v.slice(0, rank) };
}
