import { createCipheriv } from 'node:crypto';

/** Width of the numbers that are added: sums are modulo 2³² or 2⁶⁴. */
export type Bits = 32 | 64;

/** 32-bit words of `length` numbers; a number of 64 bits is its low word, then its high one. */
export const wordsOf = (length: number, bits: Bits): Uint32Array => new Uint32Array((length * bits) / 32);

// Words of mask at a time, so that a mask is never whole in memory: 256 KiB.
const CHUNK = 65_536;

/**
 * Adds the stream of a seed to `words`, or takes it away: AES-256-CTR under the seed, from counter 0, as little-endian words.
 * A seed makes one mask in its life.
 */
export function applyMask(words: Uint32Array, seed: Uint8Array, sign: 1 | -1, bits: Bits): void {
  const cipher = createCipheriv('aes-256-ctr', seed, new Uint8Array(16));
  const zeros = new Uint8Array(4 * Math.min(CHUNK, words.length));
  for (let from = 0; from < words.length; from += CHUNK) {
    const part = words.subarray(from, from + CHUNK);
    const mask = toWords(cipher.update(zeros.subarray(0, 4 * part.length)));
    (sign === 1 ? addWords : subtractWords)(part, mask, bits);
  }
}

/** Adds `other` to `words`, number by number modulo 2^bits. */
export function addWords(words: Uint32Array, other: Uint32Array, bits: Bits): void {
  if (bits === 32) {
    for (let i = 0; i < words.length; i++) words[i] = words[i]! + other[i]!;
    return;
  }
  for (let i = 0; i < words.length; i += 2) {
    const low = words[i]! + other[i]!;
    words[i] = low;
    words[i + 1] = words[i + 1]! + other[i + 1]! + (low > 0xffff_ffff ? 1 : 0);
  }
}

/** Takes `other` from `words`, number by number modulo 2^bits. */
export function subtractWords(words: Uint32Array, other: Uint32Array, bits: Bits): void {
  if (bits === 32) {
    for (let i = 0; i < words.length; i++) words[i] = words[i]! - other[i]!;
    return;
  }
  for (let i = 0; i < words.length; i += 2) {
    const low = words[i]! - other[i]!;
    words[i] = low;
    words[i + 1] = words[i + 1]! - other[i + 1]! - (low < 0 ? 1 : 0);
  }
}

/** Words in this machine's memory as little-endian bytes, and back: without a copy where the machine has that order too. */
export const toBytes = (words: Uint32Array): Uint8Array => {
  const bytes = new Uint8Array(words.buffer, words.byteOffset, words.byteLength);
  return littleEndian ? bytes : new Uint8Array(Buffer.from(bytes).swap32());
};

export function toWords(bytes: Uint8Array): Uint32Array {
  // A view needs an offset of whole words.
  const own = littleEndian && bytes.byteOffset % 4 === 0 ? bytes : Buffer.from(bytes.slice().buffer);
  if (!littleEndian) (own as Buffer).swap32();
  return new Uint32Array(own.buffer, own.byteOffset, own.length / 4);
}

const littleEndian = new Uint8Array(Uint32Array.of(1).buffer)[0] === 1;
