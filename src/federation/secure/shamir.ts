import type { RandomBytes } from './keys.ts';

/** The least prime above 2²⁵⁶, so that every secret of 32 bytes is one number of the field. */
export const PRIME = 2n ** 256n + 297n;

/** Bytes of a share's value: a number below PRIME. */
export const SHARE_BYTES = 33;

/** One point of a secret's polynomial. `x` is at least 1: at 0 stands the secret. */
export interface Share {
  readonly x: number;
  readonly y: Uint8Array;
}

/**
 * Splits 32 bytes into shares, any `threshold` of which give them back while fewer tell nothing: values of a random polynomial of
 * degree threshold − 1 over the field of PRIME elements (Shamir, How to share a secret, 1979).
 * @param xs where the polynomial is taken: different whole numbers of at least 1
 */
export function split(
  secret: Uint8Array,
  threshold: number,
  xs: readonly number[],
  random: RandomBytes,
): readonly Share[] {
  if (secret.length !== 32) throw new Error(`a shared secret has 32 bytes, not ${secret.length}`);
  if (!Number.isSafeInteger(threshold) || threshold < 1 || threshold > xs.length)
    throw new Error(`a secret cannot be shared among ${xs.length} with threshold ${threshold}`);
  requirePoints(xs);
  const coefficients = [toNumber(secret), ...Array.from({ length: threshold - 1 }, () => fieldElement(random))];
  return xs.map((x) => ({ x, y: toBytes(polynomialAt(coefficients, BigInt(x), PRIME), SHARE_BYTES) }));
}

/** The secret of at least as many shares as its threshold: Lagrange's polynomial at 0. Throws where they are of no 32 bytes. */
export function combine(shares: readonly Share[]): Uint8Array {
  requirePoints(shares.map(({ x }) => x));
  const value = interpolateAtZero(
    shares.map(({ x, y }) => [BigInt(x), toNumber(y)]),
    PRIME,
  );
  if (value >> 256n !== 0n) throw new Error('the shares do not belong together: they give no secret of 32 bytes');
  return toBytes(value, 32);
}

/** Σ coefficientᵢ·xⁱ modulo a prime. */
export function polynomialAt(coefficients: readonly bigint[], x: bigint, prime: bigint): bigint {
  return coefficients.reduceRight((sum, coefficient) => (sum * x + coefficient) % prime, 0n);
}

/** The value at 0 of the polynomial of least degree through the points, modulo a prime. */
export function interpolateAtZero(points: readonly (readonly [x: bigint, y: bigint])[], prime: bigint): bigint {
  let sum = 0n;
  for (const [i, [x, y]] of points.entries()) {
    let above = 1n;
    let below = 1n;
    for (const [j, [other]] of points.entries()) {
      if (i === j) continue;
      above = (above * other) % prime;
      below = (below * modulo(other - x, prime)) % prime;
    }
    sum = (sum + y * above * inverse(below, prime)) % prime;
  }
  return sum;
}

const modulo = (a: bigint, prime: bigint): bigint => ((a % prime) + prime) % prime;

/** By Euclid's algorithm. */
function inverse(a: bigint, prime: bigint): bigint {
  let [r, next, s, t] = [prime, modulo(a, prime), 0n, 1n];
  while (next !== 0n) {
    const quotient = r / next;
    [r, next] = [next, r - quotient * next];
    [s, t] = [t, s - quotient * t];
  }
  return modulo(s, prime);
}

function requirePoints(xs: readonly number[]): void {
  if (new Set(xs).size < xs.length || xs.some((x) => !Number.isSafeInteger(x) || x < 1))
    throw new Error('shares need different whole numbers of at least 1');
}

/** Uniform in 0 … PRIME − 1: 33 bytes with their top seven bits cleared, drawn again where they are too large. */
function fieldElement(random: RandomBytes): bigint {
  for (;;) {
    const bytes = Uint8Array.from(random(SHARE_BYTES));
    bytes[0]! &= 1;
    const value = toNumber(bytes);
    if (value < PRIME) return value;
  }
}

const toNumber = (bytes: Uint8Array): bigint => BigInt(`0x${Buffer.from(bytes).toString('hex')}`);

const toBytes = (value: bigint, length: number): Uint8Array =>
  new Uint8Array(Buffer.from(value.toString(16).padStart(2 * length, '0'), 'hex'));
