import type { Bits } from './masks.ts';

/**
 * Numbers as whole multiples of `step`, signed, modulo 2^bits. Each of `clients` sends numbers of at most `limit` in magnitude; their
 * sum is then at most 2^(bits − 1) steps away from 0, so it cannot wrap around: clients·(limit/step + ½) < 2^(bits − 1).
 */
export interface FixedPoint {
  readonly bits: Bits;
  readonly clients: number;
  readonly limit: number;
  /** A power of two, so that scaling rounds nothing. */
  readonly step: number;
}

/** The finest step with which the sum of so many numbers up to `limit` cannot overflow. Throws where there is none. */
export function fixedPoint(bits: Bits, clients: number, limit: number): FixedPoint {
  if (!Number.isSafeInteger(clients) || clients < 1) throw new Error(`a sum of ${clients} clients`);
  if (!(limit > 0 && limit < Infinity)) throw new Error(`the largest number must be above 0 and finite, not ${limit}`);
  const room = 2 ** (bits - 1) / clients - 1;
  if (room < 1) throw new Error(`${bits} bits cannot hold the sum of ${clients} clients`);
  let step = 2 ** Math.ceil(Math.log2(limit / room));
  // The logarithm is rounded; the rule is not.
  while (limit / step > room) step *= 2;
  while (limit / (step / 2) <= room) step /= 2;
  return { bits, clients, limit, step };
}

/** Whether no sum wraps around, though each client's numbers be off by `more` steps. */
export const inRange = ({ bits, clients, limit, step }: FixedPoint, more: number): boolean =>
  clients * (limit / step + 1 + more) <= 2 ** (bits - 1);

/**
 * Writes factor·value for each value into `words` from number `at` on, rounded to the nearest step, halves upwards: |error| ≤ step/2,
 * beside the rounding of the product to float64. The same numbers give the same words: the rounding draws nothing.
 * `noise`, where there is any, gives whole steps to add to each.
 * Throws where one is beyond the limit or no number.
 */
export function encode(
  words: Uint32Array,
  at: number,
  values: ArrayLike<number>,
  factor: number,
  point: FixedPoint,
  noise?: () => number,
): void {
  const { bits, limit, step } = point;
  const scale = factor / step;
  // Of a power of two times a float64: the limit itself still passes.
  const most = limit / step;
  for (let i = 0; i < values.length; i++) {
    const scaled = values[i]! * scale;
    if (!(Math.abs(scaled) <= most)) throw new BeyondLimit(limit);
    const whole = noise === undefined ? Math.round(scaled) : Math.round(scaled) + noise();
    if (bits === 32) {
      words[at + i] = whole;
    } else {
      const high = Math.floor(whole / 2 ** 32);
      words[2 * (at + i)] = whole - high * 2 ** 32;
      words[2 * (at + i) + 1] = high;
    }
  }
}

/** A number that its client may not send, since the sum could wrap around. */
export class BeyondLimit extends Error {
  override readonly name = 'BeyondLimit';
  constructor(limit: number) {
    // Which number it is stays with the client: reasons are told.
    super(`a number of its update (times its weight) is beyond ${limit}, the most that secure aggregation carries`);
  }
}

/** The sums as float64, nearest where 64 bits are more than it holds. */
export function decode(words: Uint32Array, at: number, length: number, { bits, step }: FixedPoint): Float64Array {
  const out = new Float64Array(length);
  for (let i = 0; i < length; i++) {
    if (bits === 32) {
      out[i] = (words[at + i]! | 0) * step;
    } else {
      // Both products are exact, so one rounding is all there is.
      out[i] = (words[2 * (at + i) + 1]! | 0) * 2 ** 32 * step + words[2 * (at + i)]! * step;
    }
  }
  return out;
}

/** How far a decoded sum may be from the true one: half a step for each client. */
export const resolution = ({ clients, step }: FixedPoint): number => (clients * step) / 2;
