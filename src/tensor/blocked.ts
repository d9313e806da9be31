import { BLOCK, kernels, padded, place, STRIDE, WIDTH } from './kernels.ts';
import type { Columns } from './linalg.ts';

/* Products of many columns with many, a piece of their length at a time. */

/** All inner products: entry i of column j is ⟨x_i, y_j⟩. */
export function products(x: Columns, y: Columns): Columns {
  const out = y.map(() => new Float64Array(x.length));
  const length = y.length === 0 ? 0 : (x[0]?.length ?? 0);
  const [ofX, sums] = [padded(y.length, 2) * STRIDE, (padded(y.length, 2) + BLOCK) * STRIDE];
  const { run, room } = kernels(sums + 2 * BLOCK);
  for (let from = 0; from < length; from += WIDTH) {
    place(room, 0, y, from, 2);
    for (let block = 0; block < x.length; block += BLOCK) {
      const some = x.slice(block, block + BLOCK);
      const bytes = place(room, ofX, some, from, 4);
      for (let j = 0; j < y.length; j += 2) {
        run.inner(8 * j * STRIDE, 8 * ofX, Math.ceil(some.length / 4), bytes, 8 * sums);
        for (const [row, column] of [out[j], out[j + 1]].entries())
          addFours(column, block, some.length, room, sums + 4 * row);
      }
    }
  }
  return out;
}

/** Adds every other four numbers of the room. */
function addFours(
  column: Float64Array | undefined,
  block: number,
  count: number,
  room: Float64Array,
  sums: number,
): void {
  if (column === undefined) return;
  for (let i = 0; i < count; i++) column[block + i] = column[block + i]! + room[sums + 2 * i - (i % 4)]!;
}

/** X·W: column j is Σ_i w_j[i]·x_i, of length `rows`. */
export function times(x: Columns, w: Columns, rows: number): Columns {
  const out = w.map(() => new Float64Array(rows));
  const [pairs, fours] = [padded(w.length, 2), padded(x.length, 4)];
  const [ofX, weights] = [pairs * STRIDE, (pairs + BLOCK) * STRIDE];
  const { run, room } = kernels(weights + pairs * fours);
  room.fill(0, weights, weights + pairs * fours);
  for (const [j, column] of w.entries()) room.set(column, weights + j * fours);
  for (let from = 0; from < rows; from += WIDTH) {
    room.fill(0, 0, ofX);
    for (let block = 0; block < x.length; block += BLOCK) {
      const some = x.slice(block, block + BLOCK);
      const bytes = place(room, ofX, some, from, 4);
      for (let j = 0; j < w.length; j += 2) {
        const [first, second] = [j, j + 1].map((row) => 8 * (weights + row * fours + block)) as [number, number];
        run.accumulate(8 * j * STRIDE, 8 * ofX, Math.ceil(some.length / 4), bytes, first, second);
      }
    }
    for (const [j, column] of out.entries()) {
      column.set(room.subarray(j * STRIDE, j * STRIDE + Math.min(WIDTH, rows - from)), from);
    }
  }
  return out;
}
