/*
 * Just enough of WebAssembly's binary format to write loops over pairs of float64: engines run those as vector instructions,
 * which they make of no JavaScript, and round every operation as JavaScript does. W3C, WebAssembly Core Specification 2.0, chapter 5.
 */

/** Instructions, as their bytes. */
export type Code = readonly number[];

/** A function without result: integer parameters (locals from 0), then further integer locals, then vector locals. */
export interface WasmFunction {
  readonly name: string;
  readonly parameters: number;
  readonly integers: number;
  readonly vectors: number;
  readonly body: Code;
}

const I32 = 0x7f;
const V128 = 0x7b;

/** LEB128 of a whole number from 0 on. */
const unsigned = (value: number): Code =>
  value < 0x80 ? [value] : [0x80 | (value & 0x7f), ...unsigned(Math.floor(value / 0x80))];

const signed = (value: number): Code =>
  value >= -0x40 && value < 0x40 ? [value & 0x7f] : [0x80 | (value & 0x7f), ...signed(value >> 7)];

const vector = (opcode: number): Code => [0xfd, ...unsigned(opcode)];
const at = (align: number, offset: number): Code => [align, ...unsigned(offset)];

export const get = (local: number): Code => [0x20, ...unsigned(local)];
export const set = (local: number): Code => [0x21, ...unsigned(local)];
export const tee = (local: number): Code => [0x22, ...unsigned(local)];

/** local ← local + by, and that is left on the stack. */
export const advance = (local: number, by: number): Code => [...get(local), 0x41, ...signed(by), 0x6a, ...tee(local)];
/** first < second, of addresses. */
export const below: Code = [0x49];
export const addIntegers: Code = [0x6a];
export const drop: Code = [0x1a];

/** Runs the code until what it leaves on the stack is 0: at least once. */
export const loop = (...code: readonly Code[]): Code => [0x03, 0x40, ...code.flat(), 0x0d, 0, 0x0b];

export const load = (address: number, offset: number): Code => [...get(address), ...vector(0x00), ...at(3, offset)];
/** One float64 in both halves. */
export const loadTwice = (address: number, offset: number): Code => [
  ...get(address),
  ...vector(0x0a),
  ...at(3, offset),
];
/** Below the value stands the address. */
export const store = (offset: number): Code => [...vector(0x0b), ...at(3, offset)];
export const zero: Code = [...vector(0x0c), ...Array.from({ length: 16 }, () => 0)];
export const add: Code = vector(0xf0);
export const subtract: Code = vector(0xf1);
export const multiply: Code = vector(0xf2);
/** Below stands the address: stores the sum of both halves of a vector. */
export const storeSum = (local: number, offset: number): Code => [
  ...[0, 1].flatMap((half) => [...get(local), ...vector(0x21), half]),
  0xa0,
  0x39,
  ...at(3, offset),
];

/** The bytes of a module that exports its memory, as `memory`, and these functions. */
export function wasmModule(functions: readonly WasmFunction[]): Uint8Array<ArrayBuffer> {
  const list = (items: readonly Code[]): Code => [...unsigned(items.length), ...items.flat()];
  const sized = (code: Code): Code => [...unsigned(code.length), ...code];
  const section = (id: number, items: readonly Code[]): Code => [id, ...sized(list(items))];
  const name = (text: string): Code => sized([...new TextEncoder().encode(text)]);
  const types = functions.map(({ parameters }) => [
    0x60,
    ...list(Array.from({ length: parameters }, () => [I32])),
    ...list([]),
  ]);
  const bodies = functions.map(({ integers, vectors, body }) => {
    const locals = list([
      [...unsigned(integers), I32],
      [...unsigned(vectors), V128],
    ]);
    return sized([...locals, ...body, 0x0b]);
  });
  return Uint8Array.from([
    0x00,
    0x61,
    0x73,
    0x6d,
    1,
    0,
    0,
    0,
    ...section(1, types),
    ...section(
      3,
      functions.map((_, i) => unsigned(i)),
    ),
    ...section(5, [[0x00, 1]]),
    ...section(7, [
      [...name('memory'), 2, 0],
      ...functions.map(({ name: its }, i) => [...name(its), 0, ...unsigned(i)]),
    ]),
    ...section(10, bodies),
  ]);
}
