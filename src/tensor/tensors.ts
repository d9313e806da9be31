import type { Tensor, Tensors } from './tensor.ts';

/** How many numbers a shape holds; 1 for a scalar's empty shape. */
export const sizeOf = (shape: readonly number[]): number => shape.reduce((size, n) => size * n, 1);

/** A tensor over `data` (not copied). Throws where the product of `shape` is not its length. */
export function tensor(shape: readonly number[], data: Float32Array | readonly number[]): Tensor {
  const floats = data instanceof Float32Array ? data : Float32Array.from(data);
  if (sizeOf(shape) !== floats.length) {
    throw new Error(`a tensor of shape [${shape.join(', ')}] needs ${sizeOf(shape)} numbers, not ${floats.length}`);
  }
  return { shape, data: floats };
}

export const zeros = (shape: readonly number[]): Tensor => ({ shape, data: new Float32Array(sizeOf(shape)) });

/** The tensor of that name. Throws, naming it and what there is, where it is missing. */
export function getTensor(tensors: Tensors, name: string): Tensor {
  const found = tensors.get(name);
  if (found === undefined) {
    const names = [...tensors.keys()];
    const some = names.slice(0, 4).join(', ') + (names.length > 4 ? `, … (${names.length} in all)` : '');
    throw new Error(`no tensor "${name}"; there is ${some === '' ? 'none at all' : some}`);
  }
  return found;
}

/** A new map with `change` applied to every tensor, in the same order. */
export function mapTensors(tensors: Tensors, change: (tensor: Tensor, name: string) => Tensor): Tensors {
  const out = new Map<string, Tensor>();
  for (const [name, tensor] of tensors) out.set(name, change(tensor, name));
  return out;
}

/** Names and shapes. Tensors are that too. */
export type Shapes = ReadonlyMap<string, { readonly shape: readonly number[] }>;

/** Names and shapes alone, so that the numbers can go. */
export const shapesOf = (tensors: Shapes): Shapes =>
  new Map([...tensors].map(([name, { shape }]) => [name, { shape }]));

const shown = (shape: readonly number[]): string => `[${shape.join(', ')}]`;

/** What makes the names or shapes of two maps differ, in words, or undefined where they agree (their order may differ). */
export function shapeDifference(a: Shapes, b: Shapes): string | undefined {
  for (const [name, x] of a) {
    const y = b.get(name);
    if (y === undefined) return `tensor "${name}" is missing in the second`;
    if (x.shape.length !== y.shape.length || x.shape.some((n, i) => n !== y.shape[i])) {
      return `tensor "${name}" has shape ${shown(x.shape)} in the first and ${shown(y.shape)} in the second`;
    }
  }
  for (const name of b.keys()) if (!a.has(name)) return `tensor "${name}" is missing in the first`;
  return undefined;
}

/** Throws where names or shapes differ; `what` says which two maps are compared, e.g. `update of client 3 and the model`. */
export function requireSameShapes(a: Tensors, b: Tensors, what = 'two sets of tensors'): void {
  const difference = shapeDifference(a, b);
  if (difference !== undefined) throw new Error(`${what} do not fit each other: ${difference}`);
}

/** a + factor·b, computed in float64 and rounded once. Names and shapes must agree; the order is that of `a`. */
export function addScaled(a: Tensors, b: Tensors, factor: number): Tensors {
  requireSameShapes(a, b);
  return mapTensors(a, ({ shape, data: x }, name) => {
    const y = b.get(name)!.data;
    const out = new Float32Array(x.length);
    for (let i = 0; i < out.length; i++) out[i] = x[i]! + factor * y[i]!;
    return { shape, data: out };
  });
}

/** a + b, tensor by tensor: the same names and shapes on both sides. */
export const add = (a: Tensors, b: Tensors): Tensors => addScaled(a, b, 1);

/** a − b. */
export const subtract = (a: Tensors, b: Tensors): Tensors => addScaled(a, b, -1);

/** factor·a. */
export function scale(a: Tensors, factor: number): Tensors {
  return mapTensors(a, ({ shape, data: x }) => {
    const out = new Float32Array(x.length);
    for (let i = 0; i < out.length; i++) out[i] = factor * x[i]!;
    return { shape, data: out };
  });
}

/** Zeros of the same names and shapes. */
export const zerosLike = (a: Tensors): Tensors => mapTensors(a, ({ shape }) => zeros(shape));

/** The L2 norm over all numbers of all tensors, in float64. */
export function norm(a: Tensors): number {
  let total = 0;
  for (const { data: x } of a.values()) {
    let sum = 0;
    for (let i = 0; i < x.length; i++) sum += x[i]! * x[i]!;
    total += sum;
  }
  return Math.sqrt(total);
}

/** The name of the first tensor that holds a NaN or an infinity; undefined where all numbers are finite. */
export function allFinite(a: Tensors): string | undefined {
  for (const [name, { data }] of a) if (!exponentsBelowLast(data)) return name;
  return undefined;
}

/** Whether all are finite: only these have exponents below the last, and or-ing them stalls on nothing. */
function exponentsBelowLast(data: Float32Array): boolean {
  const bits = new Int32Array(data.buffer, data.byteOffset, data.length);
  const { length } = bits;
  // The exponent of NaN and infinity, all ones, carries into the sign when one is added; no other does.
  let [a, b] = [0, 0];
  let i = 0;
  for (; i + 1 < length; i += 2) {
    a |= (bits[i]! & EXPONENT) + ONE;
    b |= (bits[i + 1]! & EXPONENT) + ONE;
  }
  if (i < length) a |= (bits[i]! & EXPONENT) + ONE;
  return (a | b) >= 0;
}

const EXPONENT = 0x7f800000;
const ONE = 0x00800000;

/** How many numbers there are in all tensors. */
export function countNumbers(a: Tensors): number {
  let count = 0;
  for (const { data } of a.values()) count += data.length;
  return count;
}

/** Bytes of the float32 data, without names and shapes. */
export const byteSize = (a: Tensors): number => 4 * countNumbers(a);

/** Bit-for-bit equality of names, order, shapes and data (so 0 ≠ −0, and NaN equals the same NaN). */
export function sameBits(a: Tensors, b: Tensors): boolean {
  if (a.size !== b.size) return false;
  const others = b.entries();
  for (const [name, x] of a) {
    const [otherName, y] = others.next().value!;
    if (name !== otherName || shown(x.shape) !== shown(y.shape) || x.data.length !== y.data.length) return false;
    const p = new Uint32Array(x.data.buffer, x.data.byteOffset, x.data.length);
    const q = new Uint32Array(y.data.buffer, y.data.byteOffset, y.data.length);
    for (let i = 0; i < p.length; i++) if (p[i] !== q[i]) return false;
  }
  return true;
}
