import { UserError } from '../errors.ts';
import { fromBfloat16, fromFloat16, toBfloat16, toFloat16 } from './half.ts';

/** Bytes of one element, by the names that safetensors gives its types. */
export const dtypeBytes = {
  BOOL: 1,
  U8: 1,
  I8: 1,
  F8_E5M2: 1,
  F8_E4M3: 1,
  F8_E8M0: 1,
  U16: 2,
  I16: 2,
  F16: 2,
  BF16: 2,
  U32: 4,
  I32: 4,
  F32: 4,
  U64: 8,
  I64: 8,
  F64: 8,
  C64: 8,
} as const;

/** An element type of a safetensors file. */
export type Dtype = keyof typeof dtypeBytes;

/** The types that this project writes. */
export type FloatDtype = 'F32' | 'F16' | 'BF16';

export const isDtype = (name: unknown): name is Dtype => typeof name === 'string' && Object.hasOwn(dtypeBytes, name);

const readers: Readonly<Partial<Record<Dtype, (buffer: ArrayBuffer) => Float32Array>>> = {
  F32: (buffer) => new Float32Array(buffer),
  F16: (buffer) => fromFloat16(new Uint16Array(buffer)),
  BF16: (buffer) => fromBfloat16(new Uint16Array(buffer)),
  F64: (buffer) => Float32Array.from(new Float64Array(buffer)),
  I64: (buffer) => Float32Array.from(new BigInt64Array(buffer), Number),
  U64: (buffer) => Float32Array.from(new BigUint64Array(buffer), Number),
  I32: (buffer) => Float32Array.from(new Int32Array(buffer)),
  U32: (buffer) => Float32Array.from(new Uint32Array(buffer)),
  I16: (buffer) => Float32Array.from(new Int16Array(buffer)),
  U16: (buffer) => Float32Array.from(new Uint16Array(buffer)),
  I8: (buffer) => Float32Array.from(new Int8Array(buffer)),
  U8: (buffer) => Float32Array.from(new Uint8Array(buffer)),
  BOOL: (buffer) => Float32Array.from(new Uint8Array(buffer)),
};

/**
 * Little-endian elements as numbers; `bytes` may start at any offset of its buffer. Exact for F16 and BF16, rounded to nearest for
 * F64 and wide integers. Throws UserError for types without a float value here.
 */
export function toFloat32(bytes: Uint8Array, dtype: Dtype, where: string): Float32Array {
  const read = readers[dtype];
  if (read === undefined)
    throw new UserError(
      `${where}: type ${dtype} cannot be read as numbers here; these can: ${Object.keys(readers).join(', ')}`,
    );
  // A copy of its own is aligned, whatever the length of the header before it. (Not slice(): a Buffer's does not copy.)
  return read(new Uint8Array(bytes).buffer);
}

/** Numbers as little-endian elements, rounded to nearest even; F32 shares the memory of `values`. */
export function fromFloat32(values: Float32Array, dtype: FloatDtype): Uint8Array {
  if (dtype === 'F32') return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  return new Uint8Array((dtype === 'F16' ? toFloat16(values) : toBfloat16(values)).buffer);
}
