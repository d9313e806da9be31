import { expect, test } from 'vitest';
import { stream } from '../../tensor/random.ts';
import { secureClient } from './client.ts';
import { encode, fixedPoint } from './fixed-point.ts';
import { keyPair } from './keys.ts';
import { subtractWords, toBytes, toWords, wordsOf } from './masks.ts';
import { secureServer } from './server.ts';

const parameters = { clients: 3, neighbours: 2, threshold: 2, least: 3 };
const BITS = 64;

/** What the clients upload, each for the same vector: identities, keys, seeds and session are all drawn from `seed`. */
function uploads(seed: number, vector: Uint32Array): [Uint8Array, Uint8Array, Uint8Array] {
  const draw = stream(seed, 'test', 'secure');
  const random = (length: number): Uint8Array => Uint8Array.from({ length }, () => draw.integer(256));
  const identities = [0, 1, 2].map(() => keyPair('ed25519', random(32)));
  const keys = identities.map(({ publicKey }) => publicKey);
  const setup = { session: random(32), parameters, identities: keys, bits: BITS, length: vector.length / 2 } as const;
  const server = secureServer(setup);
  const clients = identities.map(({ privateKey: identity }, me) => secureClient({ setup, me, identity, random }));
  for (const client of clients) server.receive(client.advert());
  for (const [i, directory] of server.directories()) server.receive(clients[i]!.shares(directory));
  const deliveries = server.deliveries();
  const upload = (i: number): Uint8Array => clients[i]!.masked(deliveries.get(i), vector.slice()).words;
  return [upload(0), upload(1), upload(2)];
}

/** An update as updates are: small numbers around 0, which are far from uniform as words. */
function encoded(length: number, size: number): Uint32Array {
  const words = wordsOf(length, BITS);
  const values = Float32Array.from({ length }, (_, i) => size * Math.sin(i));
  encode(words, 0, values, 1, fixedPoint(BITS, 3, 8));
  return words;
}

/** Σ (observed − expected)²/expected over `bins` equally likely values. */
function chiSquare(values: Iterable<number>, bins: number): number {
  const counts = new Float64Array(bins);
  let total = 0;
  for (const value of values) {
    counts[value]!++;
    total++;
  }
  return counts.reduce((sum, count) => sum + (count - total / bins) ** 2 / (total / bins), 0);
}

// Chi-square with 255 degrees of freedom has mean 255 and deviation 22.6, with 15 degrees 15 and 5.5. The seeds are fixed.
const LIMIT_BYTES = 350;
const LIMIT_NIBBLES = 45;

test('one upload is uniform, byte by byte, and its vector is not', () => {
  const vector = encoded(20_000, 1e-3);
  expect(chiSquare(toBytes(vector), 256)).toBeGreaterThan(100_000);
  expect(chiSquare(uploads(1, vector)[0], 256)).toBeLessThan(LIMIT_BYTES);
});

test('over fresh keys every place of an upload is uniform, though the vector stays the same', () => {
  const vector = encoded(2, 5);
  const all = Array.from({ length: 40 }, (_, seed) => uploads(seed, vector)).flat();
  for (let place = 0; place < 16; place++) {
    const nibbles = all.map((bytes) => bytes[place]! >> 4);
    expect(chiSquare(nibbles, 16), `byte ${place}`).toBeLessThan(LIMIT_NIBBLES);
  }
});

test('with the same keys two uploads differ by what their vectors differ by: the mask is a one-time pad and nothing else', () => {
  const [a, b] = [encoded(100, 1e-3), encoded(100, 7)];
  const difference = toWords(uploads(5, b)[0]).slice();
  subtractWords(difference, toWords(uploads(5, a)[0]), BITS);
  const expected = b.slice();
  subtractWords(expected, a, BITS);
  expect(difference).toEqual(expected);
  // And with other keys by other things.
  const other = toWords(uploads(6, b)[0]).slice();
  subtractWords(other, toWords(uploads(5, a)[0]), BITS);
  expect(other).not.toEqual(expected);
});
