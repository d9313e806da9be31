import type { Dtype } from './dtype.ts';

/** The index of the first element that is NaN or infinite: all bits of its exponent are set. -1 where there is none, or the type has no such values. */
export function firstNonFinite(bytes: Uint8Array, dtype: Dtype): number {
  // A view needs an aligned start; headers of odd lengths give others.
  const aligned = bytes.byteOffset % 4 === 0 ? bytes : new Uint8Array(bytes);
  const words = new Uint32Array(aligned.buffer, aligned.byteOffset, aligned.byteLength >> 2);
  if (dtype === 'F32') return inWords(words, 0x7f80_0000, 0, 1);
  if (dtype === 'F64') return inWords(words, 0x7ff0_0000, 1, 2);
  if (dtype !== 'F16' && dtype !== 'BF16') return -1;
  const halves = new Uint16Array(aligned.buffer, aligned.byteOffset, aligned.byteLength >> 1);
  return inHalves(halves, words, dtype === 'F16' ? 0x7c00 : 0x7f80);
}

function inWords(words: Uint32Array, mask: number, from: number, step: number): number {
  for (let i = from; i < words.length; i += step) if ((words[i]! & mask) === mask) return (i - from) / step;
  return -1;
}

/** Two halves at a time: a word has a bad half exactly where the inverted exponents have a half of zeros (the classic zero-in-word test). */
function inHalves(halves: Uint16Array, words: Uint32Array, mask: number): number {
  const both = (mask << 16) | mask;
  let word = 0;
  for (; word < words.length; word++) {
    const inverted = ~words[word]! & both;
    if (((inverted - 0x0001_0001) & ~inverted & 0x8000_8000) !== 0) break;
  }
  for (let i = 2 * word; i < halves.length; i++) if ((halves[i]! & mask) === mask) return i;
  return -1;
}
