import { createHash } from 'node:crypto';
import { hkdf, sharedSecret } from './keys.ts';
import { applyMask, type Bits } from './masks.ts';
import { statement } from './messages.ts';

/** What two clients have in common, by either's private and the other's public key. `purpose` keeps masks and seals apart. */
function commonKey(
  purpose: string,
  context: Uint8Array,
  [mine, me]: readonly [privateKey: Uint8Array, number: number],
  [theirs, them]: readonly [publicKey: Uint8Array, number: number],
): Uint8Array {
  const info = statement(purpose, context, Math.min(me, them), Math.max(me, them));
  return hkdf(sharedSecret(mine, theirs), context, info, 32);
}

/** The key under which `from` seals its shares to `to`: each direction has its own, so a key seals one message. */
export const sealKey = (
  context: Uint8Array,
  mine: readonly [privateKey: Uint8Array, number: number],
  theirs: readonly [publicKey: Uint8Array, number: number],
  from: number,
): Uint8Array => commonKey(from < Math.max(mine[1], theirs[1]) ? 'seal up' : 'seal down', context, mine, theirs);

/** Adds to the words of `me` the mask it has with `them`, or takes it away again: those of the two add up to 0. */
export function applyPairMask(
  words: Uint32Array,
  context: Uint8Array,
  mine: readonly [privateKey: Uint8Array, number: number],
  theirs: readonly [publicKey: Uint8Array, number: number],
  direction: 'mask' | 'unmask',
  bits: Bits,
): void {
  const sign = mine[1] < theirs[1] === (direction === 'mask') ? 1 : -1;
  applyMask(words, commonKey('mask', context, mine, theirs), sign, bits);
}

/** The client's own mask, by its seed. */
export const applyOwnMask = (
  words: Uint32Array,
  context: Uint8Array,
  seed: Uint8Array,
  direction: 'mask' | 'unmask',
  bits: Bits,
): void =>
  applyMask(words, hkdf(seed, context, statement('own mask', context), 32), direction === 'mask' ? 1 : -1, bits);

/** Tells a seed from others without telling it: 32 random bytes cannot be guessed. */
export const seedHash = (context: Uint8Array, seed: Uint8Array): Uint8Array =>
  new Uint8Array(
    createHash('sha256')
      .update(statement('seed', context, seed))
      .digest(),
  );
