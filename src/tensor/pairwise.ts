import { BLOCK, kernels, padded, place, STRIDE, WIDTH } from './kernels.ts';

/*
 * One number for every pair of many long vectors. A piece of each at a time is copied side by side, widened to float64, and all
 * pairs of pieces are met, a block of them with all before it.
 */

type Numbers = Float32Array | Float64Array;

/** Sums so far, one for each pair i ≤ j of `count` vectors; `allPairs` reads them. */
export interface Pairs {
  readonly count: number;
  /** As many rows and columns as `count`, or up to three more, which are of vectors of zeros. */
  readonly size: number;
  readonly values: Float64Array;
}

export const noPairs = (count: number): Pairs => {
  const size = padded(count, 4);
  return { count, size, values: new Float64Array(size * size) };
};

/** Adds ⟨x_i, x_j⟩ of all pairs, in float64. All vectors have the same length. */
export const addInnerProducts = (pairs: Pairs, vectors: readonly Numbers[]): void =>
  overPieces(pairs, vectors, 'inner');

/** Adds ‖x_i − x_j‖² of all pairs, from the differences in float64: ‖x‖² + ‖y‖² − 2xy would cancel for close vectors. */
export const addSquaredDistances = (pairs: Pairs, vectors: readonly Numbers[]): void =>
  overPieces(pairs, vectors, 'apart');

/** All inner products ⟨x_i, x_j⟩: entry i·count + j. */
export function gram(vectors: readonly Numbers[]): Float64Array {
  const pairs = noPairs(vectors.length);
  addInnerProducts(pairs, vectors);
  return allPairs(pairs);
}

/** Entry i·count + j of a symmetric matrix, for all i and j. */
export function allPairs({ count, size, values }: Pairs): Float64Array {
  const all = new Float64Array(count * count);
  for (let i = 0; i < count; i++) {
    for (let j = i; j < count; j++) all[i * count + j] = values[i * size + j]!;
    for (let j = 0; j < i; j++) all[i * count + j] = values[j * size + i]!;
  }
  return all;
}

function overPieces({ size, values }: Pairs, vectors: readonly Numbers[], term: 'inner' | 'apart'): void {
  const { length } = vectors[0]!;
  const sums = size * STRIDE;
  const { run, room } = kernels(sums + 2 * BLOCK);
  for (let from = 0; from < length; from += WIDTH) {
    const bytes = place(room, 0, vectors, from, 4);
    for (let block = 0; block < size; block += BLOCK) {
      const end = Math.min(size, block + BLOCK);
      for (let i = 0; i < end; i += 2) {
        // The first four that hold a pair i ≤ j.
        const first = Math.max(block, i - (i % 4));
        run[term](8 * i * STRIDE, 8 * first * STRIDE, (end - first) / 4, bytes, 8 * sums);
        for (let j = first, at = sums; j < end; j += 4) {
          for (const row of [i * size + j, (i + 1) * size + j])
            for (let k = row; k < row + 4; k++, at++) values[k] = values[k]! + room[at]!;
        }
      }
    }
  }
}
