import type { Packed, PackedPlan, PackedTensor, Packing } from '../tensor/packed.ts';
import type { Tensor, Tensors } from '../tensor/tensor.ts';
import { sizeOf, type Shapes } from '../tensor/tensors.ts';
import { fromInt8, rowsOf, type Int8Rows } from './int8.ts';
import { fromTopK, type Sparse } from './top-k.ts';

const bytesOf = (data: Float32Array | Int8Array): Uint8Array =>
  new Uint8Array(data.buffer, data.byteOffset, data.byteLength);

/** A copy of its own is aligned, wherever in a file the bytes were. */
const floats = (bytes: Uint8Array): Float32Array => new Float32Array(new Uint8Array(bytes).buffer);

const scaleName = (name: string): string => `${name}:scale`;

/** Each tensor as int8 under its own name, and the scales of its rows under `NAME:scale`. */
export const int8Packing: Packing = {
  plan: (like) =>
    [...like].flatMap(([name, { shape }]): PackedPlan[] => [
      { name, dtype: 'I8', shape },
      { name: scaleName(name), dtype: 'F32', shape: [rowsOf(shape, sizeOf(shape))] },
    ]),
  unpack: (packed, like) =>
    mapped(like, (name, { shape }) => {
      const { bytes } = packed.get(name)!;
      const values = new Int8Array(bytes.buffer, bytes.byteOffset, bytes.length);
      return fromInt8({ shape, values, scales: floats(packed.get(scaleName(name))!.bytes) });
    }),
};

export function packInt8(rows: ReadonlyMap<string, Int8Rows>): Packed {
  const packed = new Map<string, PackedTensor>();
  for (const [name, { shape, values, scales }] of rows) {
    packed.set(name, { dtype: 'I8', shape, bytes: bytesOf(values) });
    packed.set(scaleName(name), { dtype: 'F32', shape: [scales.length], bytes: bytesOf(scales) });
  }
  return packed;
}

const VALUES = 'top-k:values';
const POSITIONS = 'top-k:positions';

const numbersOf = (like: Shapes): number => [...like.values()].reduce((sum, { shape }) => sum + sizeOf(shape), 0);

/** Bits of a position among so many numbers. */
const positionBits = (numbers: number): number => Math.ceil(Math.log2(Math.max(1, numbers)));

/** Where each tensor's numbers begin, tensors in sorted order of names. */
function offsets(like: Shapes): ReadonlyMap<string, number> {
  const out = new Map<string, number>();
  let at = 0;
  for (const name of [...like.keys()].sort((a, b) => (a < b ? -1 : 1))) {
    out.set(name, at);
    at += sizeOf(like.get(name)!.shape);
  }
  return out;
}

/**
 * The kept numbers under `top-k:values`, in order of their positions, and under `top-k:positions` those positions, ascending, in
 * ⌈log₂ d⌉ bits each, from the lowest bit of the first byte on. Positions count over all d numbers, tensors in sorted order of names.
 */
export const topKPacking = (kept: (numbers: number) => number): Packing => ({
  plan(like) {
    const numbers = numbersOf(like);
    const count = kept(numbers);
    return [
      { name: VALUES, dtype: 'F32', shape: [count] },
      { name: POSITIONS, dtype: 'U8', shape: [Math.ceil((count * positionBits(numbers)) / 8)] },
    ];
  },
  unpack(packed, like) {
    const values = floats(packed.get(VALUES)!.bytes);
    const positions = fromBits(packed.get(POSITIONS)!.bytes, positionBits(numbersOf(like)), values.length);
    const sparse = new Map<string, Sparse>();
    let from = 0;
    let last = -1;
    for (const [name, start] of offsets(like)) {
      const { shape } = like.get(name)!;
      const end = start + sizeOf(shape);
      let to = from;
      for (; to < positions.length && positions[to]! < end; to++) {
        if (positions[to]! <= last) throw new Error('positions of top-k do not ascend');
        last = positions[to]!;
      }
      const indices = positions.slice(from, to).map((position) => position - start);
      sparse.set(name, { shape, indices, values: values.slice(from, to) });
      from = to;
    }
    if (from < positions.length) throw new Error('a position of top-k is outside the update');
    const dense = fromTopK(sparse);
    return mapped(like, (name) => dense.get(name)!);
  },
});

export function packTopK(sparse: ReadonlyMap<string, Sparse>): Packed {
  const starts = offsets(sparse);
  const parts = [...starts].map(([name, start]) => ({ start, ...sparse.get(name)! }));
  const values = Float32Array.from(parts.flatMap((part) => [...part.values]));
  const positions = parts.flatMap(({ start, indices }) => [...indices].map((index) => start + index));
  const numbers = parts.reduce((sum, { shape }) => sum + shape.reduce((size, n) => size * n, 1), 0);
  const bits = toBits(positions, positionBits(numbers));
  return new Map([
    [VALUES, { dtype: 'F32', shape: [values.length], bytes: bytesOf(values) }],
    [POSITIONS, { dtype: 'U8', shape: [bits.length], bytes: bits }],
  ]);
}

/** Whole numbers of so many bits each, one behind the other, lowest bits first. */
function toBits(numbers: readonly number[], width: number): Uint8Array {
  const bytes = new Uint8Array(Math.ceil((numbers.length * width) / 8));
  let at = 0;
  let rest = 0;
  let bits = 0;
  for (const number of numbers) {
    // Less than 8 bits are left over, so that this is exact.
    rest += number * 2 ** bits;
    bits += width;
    for (; bits >= 8; bits -= 8) {
      bytes[at++] = rest % 256;
      rest = Math.floor(rest / 256);
    }
  }
  if (bits > 0) bytes[at] = rest;
  return bytes;
}

function fromBits(bytes: Uint8Array, width: number, count: number): Uint32Array {
  const numbers = new Uint32Array(count);
  let at = 0;
  let rest = 0;
  let bits = 0;
  for (let i = 0; i < count; i++) {
    for (; bits < width; bits += 8) rest += bytes[at++]! * 2 ** bits;
    numbers[i] = rest % 2 ** width;
    rest = Math.floor(rest / 2 ** width);
    bits -= width;
  }
  return numbers;
}

const mapped = (like: Shapes, of: (name: string, like: { readonly shape: readonly number[] }) => Tensor): Tensors =>
  new Map([...like].map(([name, tensor]) => [name, of(name, tensor)]));

/** The same packing where these tensors travel beside the others as they are. */
export const beside = (packing: Packing, plain: (name: string) => boolean): Packing => {
  const split = (like: Shapes): readonly [Shapes, Shapes] => [
    new Map([...like].filter(([name]) => !plain(name))),
    new Map([...like].filter(([name]) => plain(name))),
  ];
  return {
    plan(like) {
      const [packed, others] = split(like);
      return [
        ...packing.plan(packed),
        ...[...others].map(([name, { shape }]): PackedPlan => ({ name, dtype: 'F32', shape })),
      ];
    },
    unpack(packed, like) {
      const inner = packing.unpack(packed, split(like)[0]);
      return mapped(like, (name, { shape }) => inner.get(name) ?? { shape, data: floats(packed.get(name)!.bytes) });
    },
  };
};

/** A tensor as it is, for beside the packed ones. */
export const unpacked = ({ shape, data }: Tensor): PackedTensor => ({ dtype: 'F32', shape, bytes: bytesOf(data) });
