import * as wasm from './wasm.ts';
import type { Code } from './wasm.ts';

/*
 * The innermost loops of products of many vectors with many, on pieces of them that lie as rows in a memory of their own. Two
 * rows of one side meet four of the other, so that what is loaded is used often and eight sums run beside each other.
 */

/** Numbers of a row that a piece has at most. */
export const WIDTH = 256;
/** Numbers from row to row; not a power of two, or all rows would compete for the same lines of the cache. */
export const STRIDE = WIDTH + 8;

/** Rows in a block of rows that stays in the second-level cache while others go by. */
export const BLOCK = 128;

/** Addresses are in bytes; `bytes` of each row are met, a multiple of 16; rows come in fours, `fours` of them, one at least. */
interface Kernels {
  readonly memory: WebAssembly.Memory;
  /** ⟨x, y⟩ of two rows x with rows y: out has eight numbers for each four, those of the first x before those of the second. */
  inner(x: number, y: number, fours: number, bytes: number, out: number): void;
  /** The same of ‖x − y‖². */
  apart(x: number, y: number, fours: number, bytes: number, out: number): void;
  /** Adds Σ weight·y to two rows; `first` and `second` are where the weights of each begin. */
  accumulate(x: number, y: number, fours: number, bytes: number, first: number, second: number): void;
}

const ROW = 8 * STRIDE;
const FOUR = [0, 1, 2, 3] as const;

/** Takes p along the rows at x and q along those at y, two numbers a step, until p has passed `bytes` of them. All are locals. */
function alongRows(
  { x, y, bytes, p, q, end }: Readonly<Record<'x' | 'y' | 'bytes' | 'p' | 'q' | 'end', number>>,
  step: Code,
): Code {
  return [
    [...wasm.get(x), ...wasm.tee(p), ...wasm.get(bytes), ...wasm.addIntegers, ...wasm.set(end)],
    [...wasm.get(y), ...wasm.set(q)],
    wasm.loop(step, wasm.advance(q, 16), wasm.drop, wasm.advance(p, 16), wasm.get(end), wasm.below),
  ].flat();
}

/** Σ over a row of `term`, which finds a number of y on the stack and takes the local of one of x. */
function pairs(name: string, term: (x: number) => Code): wasm.WasmFunction {
  const [x, y, fours, bytes, out, p, q, end] = [0, 1, 2, 3, 4, 5, 6, 7];
  const [ofX, number, sums] = [[8, 9], 10, 12] as const;
  const step = [
    ...ofX.flatMap((local, i) => [...wasm.load(p, i * ROW), ...wasm.set(local)]),
    ...FOUR.flatMap((j) => [
      ...wasm.load(q, j * ROW),
      ...wasm.set(number),
      ...ofX.flatMap((local, i) => {
        const sum = sums + 4 * i + j;
        return [...wasm.get(sum), ...wasm.get(number), ...term(local), ...wasm.add, ...wasm.set(sum)];
      }),
    ]),
  ];
  const body = wasm.loop(
    Array.from({ length: 8 }, (_, k) => [...wasm.zero, ...wasm.set(sums + k)]).flat(),
    alongRows({ x, y, bytes, p, q, end }, step),
    Array.from({ length: 8 }, (_, k) => [...wasm.get(out), ...wasm.storeSum(sums + k, 8 * k)]).flat(),
    [...wasm.advance(out, 64), ...wasm.drop, ...wasm.advance(y, 4 * ROW), ...wasm.drop],
    wasm.advance(fours, -1),
  );
  return { name, parameters: 5, integers: 3, vectors: 12, body };
}

const inner = pairs('inner', (x) => [...wasm.get(x), ...wasm.multiply]);
const apart = pairs('apart', (x) => [
  ...wasm.get(x),
  ...wasm.subtract,
  ...wasm.tee(11),
  ...wasm.get(11),
  ...wasm.multiply,
]);

function accumulate(): wasm.WasmFunction {
  const [x, y, fours, bytes, first, second, p, q, end] = [0, 1, 2, 3, 4, 5, 6, 7, 8];
  const [numbers, weights] = [9, 13];
  const term = (row: number, j: number): Code => [
    ...wasm.get(weights + 4 * row + j),
    ...wasm.get(numbers + j),
    ...wasm.multiply,
  ];
  const step = [
    ...FOUR.flatMap((j) => [...wasm.load(q, j * ROW), ...wasm.set(numbers + j)]),
    ...[0, 1].flatMap((row) => [
      ...wasm.get(p),
      ...wasm.load(p, row * ROW),
      ...term(row, 0),
      ...term(row, 1),
      ...wasm.add,
      ...term(row, 2),
      ...term(row, 3),
      ...wasm.add,
      ...wasm.add,
      ...wasm.add,
      ...wasm.store(row * ROW),
    ]),
  ];
  const body = wasm.loop(
    FOUR.flatMap((j) => [
      ...wasm.loadTwice(first, 8 * j),
      ...wasm.set(weights + j),
      ...wasm.loadTwice(second, 8 * j),
      ...wasm.set(weights + 4 + j),
    ]),
    alongRows({ x, y, bytes, p, q, end }, step),
    [first, second].flatMap((local) => [...wasm.advance(local, 32), ...wasm.drop]),
    [...wasm.advance(y, 4 * ROW), ...wasm.drop],
    wasm.advance(fours, -1),
  );
  return { name: 'accumulate', parameters: 6, integers: 3, vectors: 12, body };
}

let compiled: Kernels | undefined;

/** The kernels and their memory, `numbers` float64 of it at least; what is there stays until the next call. */
export function kernels(numbers: number): { readonly run: Kernels; readonly room: Float64Array } {
  compiled ??= new WebAssembly.Instance(new WebAssembly.Module(wasm.wasmModule([inner, apart, accumulate()])))
    .exports as unknown as Kernels;
  const { memory } = compiled;
  const missing = 8 * numbers - memory.buffer.byteLength;
  if (missing > 0) memory.grow(Math.ceil(missing / 2 ** 16));
  return { run: compiled, room: new Float64Array(memory.buffer) };
}

/**
 * Puts numbers `from` to `from + WIDTH` of each vector as rows from number `at` of the room on, in float64, and rows of zeros
 * after them up to a multiple of `rows`. Gives the bytes to be met of each: a row of odd length has a zero behind it.
 */
export function place(
  room: Float64Array,
  at: number,
  vectors: readonly (Float32Array | Float64Array)[],
  from: number,
  rows: number,
): number {
  const width = Math.min(WIDTH, vectors[0]!.length - from);
  let row = at;
  for (const vector of vectors) {
    room.set(vector.subarray(from, from + width), row);
    room[row + width] = 0;
    row += STRIDE;
  }
  room.fill(0, row, at + padded(vectors.length, rows) * STRIDE);
  return 16 * Math.ceil(width / 2);
}

/** The next multiple. */
export const padded = (count: number, multiple: number): number => multiple * Math.ceil(count / multiple);
