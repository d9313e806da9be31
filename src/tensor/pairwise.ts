/*
 * One number for every pair of many long vectors. A piece of each at a time is copied side by side, widened to float64 and few
 * enough to stay in the second-level cache while all pairs of pieces are met; two of one side with four of the other, so that
 * what is loaded is used often and eight sums run beside each other, where a single one would wait for each addition.
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
  const size = 4 * Math.ceil(count / 4);
  return { count, size, values: new Float64Array(size * size) };
};

/** Adds ⟨x_i, x_j⟩ of all pairs, in float64. All vectors have the same length. */
export const addInnerProducts = (pairs: Pairs, vectors: readonly Numbers[]): void =>
  overPieces(pairs, vectors, innerTile);

/** Adds ‖x_i − x_j‖² of all pairs, from the differences in float64: ‖x‖² + ‖y‖² − 2xy would cancel for close vectors. */
export const addSquaredDistances = (pairs: Pairs, vectors: readonly Numbers[]): void =>
  overPieces(pairs, vectors, distanceTile);

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

type Tile = (x: Float64Array, i: number, j: number, width: number, out: Float64Array, at: number, size: number) => void;

/** Numbers in a piece of all vectors together: half a megabyte in float64. */
const PIECE = 2 ** 16;

function overPieces({ size, values }: Pairs, vectors: readonly Numbers[], tile: Tile): void {
  const { length } = vectors[0]!;
  const width = Math.min(length, Math.max(32, Math.floor(PIECE / size)));
  const piece = new Float64Array(size * width);
  for (let from = 0; from < length; from += width) {
    const now = Math.min(width, length - from);
    for (const [i, vector] of vectors.entries()) piece.set(vector.subarray(from, from + now), i * now);
    piece.fill(0, vectors.length * now);
    for (let i = 0; i < size; i += 2) {
      // The first four that hold a pair i ≤ j.
      for (let j = i - (i % 4); j < size; j += 4) tile(piece, i * now, j * now, now, values, i * size + j, size);
    }
  }
}

/** Two rows that begin at i, with four that begin at j. */
function innerTile(x: Float64Array, i: number, j: number, width: number, out: Float64Array, at: number, size: number) {
  const [i1, j1, j2, j3] = [i + width, j + width, j + 2 * width, j + 3 * width];
  let [a, b, c, d, e, f, g, h] = [0, 0, 0, 0, 0, 0, 0, 0];
  for (let k = 0; k < width; k++) {
    const p = x[i + k]!;
    const q = x[i1 + k]!;
    const r = x[j + k]!;
    const s = x[j1 + k]!;
    const t = x[j2 + k]!;
    const u = x[j3 + k]!;
    a += p * r;
    b += p * s;
    c += p * t;
    d += p * u;
    e += q * r;
    f += q * s;
    g += q * t;
    h += q * u;
  }
  addTile(out, at, size, a, b, c, d, e, f, g, h);
}

function distanceTile(
  x: Float64Array,
  i: number,
  j: number,
  width: number,
  out: Float64Array,
  at: number,
  size: number,
) {
  const [i1, j1, j2, j3] = [i + width, j + width, j + 2 * width, j + 3 * width];
  let [a, b, c, d, e, f, g, h] = [0, 0, 0, 0, 0, 0, 0, 0];
  for (let k = 0; k < width; k++) {
    const p = x[i + k]!;
    const q = x[i1 + k]!;
    const r = x[j + k]!;
    const s = x[j1 + k]!;
    const t = x[j2 + k]!;
    const u = x[j3 + k]!;
    a += (p - r) * (p - r);
    b += (p - s) * (p - s);
    c += (p - t) * (p - t);
    d += (p - u) * (p - u);
    e += (q - r) * (q - r);
    f += (q - s) * (q - s);
    g += (q - t) * (q - t);
    h += (q - u) * (q - u);
  }
  addTile(out, at, size, a, b, c, d, e, f, g, h);
}

/** Adds a row of four and the row below it. */
function addTile(
  out: Float64Array,
  at: number,
  size: number,
  a: number,
  b: number,
  c: number,
  d: number,
  e: number,
  f: number,
  g: number,
  h: number,
): void {
  out[at]! += a;
  out[at + 1]! += b;
  out[at + 2]! += c;
  out[at + 3]! += d;
  const below = at + size;
  out[below]! += e;
  out[below + 1]! += f;
  out[below + 2]! += g;
  out[below + 3]! += h;
}
