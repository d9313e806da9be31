import { createCipheriv } from 'node:crypto';
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { addWords, applyMask, subtractWords, toBytes, toWords, wordsOf, type Bits } from './masks.ts';

const seed = Uint8Array.from({ length: 32 }, (_, i) => i);

/** AES-256 of the blocks 0, 1, 2, … as numbers of 16 bytes, highest first. */
function keystream(blocks: number): Uint8Array {
  const counters = Buffer.alloc(16 * blocks);
  for (let i = 0; i < blocks; i++) counters.writeUInt32BE(i, 16 * i + 12);
  const cipher = createCipheriv('aes-256-ecb', seed, null);
  return new Uint8Array(cipher.update(counters));
}

test('AES-256 is that of FIPS 197, appendix C.3', () => {
  const cipher = createCipheriv('aes-256-ecb', seed, null);
  expect(cipher.update('00112233445566778899aabbccddeeff', 'hex', 'hex')).toBe('8ea2b7ca516745bfeafc49904b496089');
});

test.each([32, 64] as const)(
  'a mask of %i bits is the counter stream of its seed, over chunks too, and leaves again',
  (bits) => {
    const length = 70_001;
    const words = wordsOf(length, bits);
    applyMask(words, seed, 1, bits);
    const stream = keystream(Math.ceil(words.length / 4));
    expect(Buffer.compare(toBytes(words), stream.subarray(0, words.byteLength))).toBe(0);
    applyMask(words, seed, -1, bits);
    expect(words.every((word) => word === 0)).toBe(true);
  },
);

/** Numbers of words as they are meant. */
const asBigInts = (words: Uint32Array, bits: Bits): bigint[] =>
  bits === 32
    ? [...words].map(BigInt)
    : Array.from({ length: words.length / 2 }, (_, i) => BigInt(words[2 * i]!) + (BigInt(words[2 * i + 1]!) << 32n));

test.each([32, 64] as const)('sums and differences are those modulo 2^%i', (bits) => {
  const edge = fc.oneof(fc.constantFrom(0, 1, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff), fc.nat(0xffff_ffff));
  const vector = fc.array(edge, { minLength: 8, maxLength: 8 }).map((list) => Uint32Array.from(list));
  const modulus = 1n << BigInt(bits);
  fc.assert(
    fc.property(vector, vector, (a, b) => {
      const [x, y] = [asBigInts(a, bits), asBigInts(b, bits)];
      const sum = a.slice();
      addWords(sum, b, bits);
      expect(asBigInts(sum, bits)).toEqual(x.map((value, i) => (value + y[i]!) % modulus));
      const difference = a.slice();
      subtractWords(difference, b, bits);
      expect(asBigInts(difference, bits)).toEqual(x.map((value, i) => (value - y[i]! + modulus) % modulus));
    }),
  );
});

test('words are little-endian bytes, wherever they lie', () => {
  expect([...toBytes(Uint32Array.of(0x0403_0201))]).toEqual([1, 2, 3, 4]);
  const shifted = new Uint8Array([0, 1, 2, 3, 4]).subarray(1);
  expect([...toWords(shifted)]).toEqual([0x0403_0201]);
});
