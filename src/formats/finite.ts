import type { Dtype } from './dtype.ts';

/** The index of the first element that is NaN or infinite: all bits of its exponent are set. -1 where there is none, or the type has no such values. */
export function firstNonFinite(bytes: Uint8Array, dtype: Dtype): number {
  // A view needs an aligned start; headers of odd lengths give others.
  const aligned = bytes.byteOffset % 4 === 0 ? bytes : new Uint8Array(bytes);
  const halves = () => new Uint16Array(aligned.buffer, aligned.byteOffset, aligned.byteLength >> 1);
  const words = () => new Uint32Array(aligned.buffer, aligned.byteOffset, aligned.byteLength >> 2);
  if (dtype === 'F32') return findMasked(words(), 0x7f80_0000, 0, 1);
  if (dtype === 'F16') return findMasked(halves(), 0x7c00, 0, 1);
  if (dtype === 'BF16') return findMasked(halves(), 0x7f80, 0, 1);
  if (dtype === 'F64') return findMasked(words(), 0x7ff0_0000, 1, 2);
  return -1;
}

/** A loop over the bits, since comparing numbers would convert each half first. */
function findMasked(bits: Uint16Array | Uint32Array, mask: number, from: number, step: number): number {
  for (let i = from; i < bits.length; i += step) if ((bits[i]! & mask) === mask) return (i - from) / step;
  return -1;
}
