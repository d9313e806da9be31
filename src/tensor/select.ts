/**
 * Puts the value that sorting would put at `at` there, in values[from … to − 1]: what is before it is not larger, what is after
 * it not smaller. No value may be NaN. Hoare's selection; few partitions of few values, since these are a server's clients,
 * once for each coordinate.
 */
export function select(values: Float64Array, from: number, to: number, at: number): void {
  for (let left = MOST_PARTITIONS; to - from > FEW; left--) {
    if (left === 0) {
      // Values made to be split badly: n·log n at worst.
      values.subarray(from, to).sort();
      return;
    }
    const pivot = meanOfEight(values, from, to);
    const middle = partition(values, from, to, pivot);
    if (at < middle) to = middle;
    else if (middle > from) from = middle;
    else {
      // No mean is below all of its values, so that this one is the least, and those equal to it are in their places.
      from = partitionEqual(values, from, to, pivot);
      if (at < from) return;
    }
  }
  for (let i = from + 1; i < to; i++) {
    const value = values[i]!;
    let j = i - 1;
    for (; j >= from && values[j]! > value; j--) values[j + 1] = values[j]!;
    values[j + 1] = value;
  }
}

const FEW = 8;
const MOST_PARTITIONS = 40;

/** Of eight of at least nine values: nearer to their middle than one of them, and exact where they are all the same. */
function meanOfEight(x: Float64Array, from: number, to: number): number {
  const step = (to - from) >> 3;
  const half = from + 4 * step;
  const first = x[from]! + x[from + step]! + x[from + 2 * step]! + x[from + 3 * step]!;
  return (first + x[half]! + x[half + step]! + x[half + 2 * step]! + x[to - 1]!) / 8;
}

// A comparison that becomes a number is no branch: those of a partition would be guessed wrong every other time.

/** Values below the pivot first; where the others begin. */
function partition(x: Float64Array, from: number, to: number, pivot: number): number {
  let next = from;
  for (let i = from; i < to; i++) {
    const value = x[i]!;
    x[i] = x[next]!;
    x[next] = value;
    next += Number(value < pivot);
  }
  return next;
}

/** Values not above the pivot first; where the others begin. */
function partitionEqual(x: Float64Array, from: number, to: number, pivot: number): number {
  let next = from;
  for (let i = from; i < to; i++) {
    const value = x[i]!;
    x[i] = x[next]!;
    x[next] = value;
    next += Number(value <= pivot);
  }
  return next;
}
