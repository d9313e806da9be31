import { createCipheriv } from 'node:crypto';
import { equivalentNoise, summationError, type NoisedNumbers } from '../../guard/accountant/distributed.ts';
import { UNCLIPPED } from '../../guard/beside.ts';
import { wordsFrom, type Words } from '../../guard/discrete-gaussian.ts';
import type { SumNoise } from '../../methods/stage.ts';
import { sizeOf, type Shapes } from '../../tensor/tensors.ts';
import { inRange, type FixedPoint } from './fixed-point.ts';
import type { Bits } from './masks.ts';

/** How numbers of one kind are written and noised: each client adds a discrete Gaussian of this variance, in steps², to each. */
export interface NoisedPoint {
  readonly point: FixedPoint;
  readonly variance: number;
}

/** What each client adds to the tensors of an update, and to the count beside them. */
export interface NoisePlan {
  readonly of: (name: string) => NoisedPoint;
  /** The multiplier that the noise of the least honest clients is worth, at least the one asked for. */
  readonly worth: number;
}

/** Steps in a deviation, at least, as a power of two, where the range has the room: rounding and τ are then next to nothing. */
const FINE = 24;
/** Deviations of its noise by which a number may be off before the sum could wrap around: a chance of 2·e^−128 each. */
const TAIL = 16;
/** More than what rounding in float64 can do to a norm or a deviation. */
const SLACK = 1 + 2 ** -30;

/**
 * The noise of clients of whom at least `honest` are in the sum and keep theirs to themselves: so much that even theirs alone costs
 * no more than `noise` says, with the rounding of the numbers to steps and that of sums of discrete Gaussians in it. Throws where the
 * range has no room for it.
 * @param like the update's tensors
 */
export function noisePlan(
  like: Shapes,
  noise: SumNoise,
  { clients, honest, bits }: { readonly clients: number; readonly honest: number; readonly bits: Bits },
): NoisePlan {
  const sizes = [...like].map(([name, { shape }]) => ({ size: sizeOf(shape), counts: name === UNCLIPPED }));
  const numbers = (counts: boolean): number =>
    sizes.reduce((sum, each) => sum + (each.counts === counts ? each.size : 0), 0);
  const { updates, bound, count } = noise;
  const kinds = [{ counts: false, bound, multiplier: updates, numbers: numbers(false) }];
  // A client moves the count by ½.
  if (count !== undefined) kinds.push({ counts: true, bound: 0.5, multiplier: 2 * count, numbers: numbers(true) });
  const unnoised = kinds.map(({ bound: most, multiplier }) => (multiplier * most) / Math.sqrt(honest));
  for (let coarser = 0; coarser <= 2 * FINE; coarser++) {
    const drafts = kinds.map((kind, i) => {
      const step = powerBelow(unnoised[i]!) * 2 ** (coarser - FINE);
      // Each number is off by half a step at most.
      const sensitivity = (kind.bound / step + Math.sqrt(kind.numbers) / 2) * SLACK;
      return { ...kind, step, sensitivity, least: (kind.multiplier * sensitivity) / Math.sqrt(honest) };
    });
    const error = Math.sqrt(
      drafts.reduce((sum, { numbers: d, least }) => sum + d * summationError(honest, least) ** 2, 0),
    );
    // More noise than a Gaussian would need: (Gaussian part) + error ≤ 1/z.
    const rest = 1 - noise.noise * error;
    if (!(rest > 0.5)) break;
    const parts = drafts.map(({ counts, bound: most, step, sensitivity, numbers: d, least }) => {
      const variance = Math.ceil(((least / rest) * SLACK) ** 2);
      const point: FixedPoint = { bits, clients, limit: most * SLACK, step };
      return { counts, point, variance, numbers: d, sensitivity, deviation: Math.sqrt(variance) };
    });
    if (!parts.every(({ point, deviation }) => inRange(point, TAIL * deviation))) continue;
    const found = (counts: boolean): NoisedPoint => {
      const part = parts.find((each) => each.counts === counts);
      if (part === undefined) throw new Error('a count that nothing is said of');
      return part;
    };
    return {
      of: (name) => found(name === UNCLIPPED),
      worth: equivalentNoise(parts satisfies readonly NoisedNumbers[], honest),
    };
  }
  throw new Error(`${bits} bits have no room for noise of ${noise.noise} among ${clients} clients`);
}

/** The largest power of two that is no more, the same on every machine. */
function powerBelow(x: number): number {
  let power = 2 ** Math.floor(Math.log2(x));
  // The logarithm is rounded.
  while (power > x) power /= 2;
  while (2 * power <= x) power *= 2;
  return power;
}

/** Words of a seed of 32 bytes: the stream of AES-256-CTR under it from counter 0, little-endian. The same seed, the same words. */
export function wordsOfSeed(seed: Uint8Array): Words {
  const cipher = createCipheriv('aes-256-ctr', seed, new Uint8Array(16));
  return wordsFrom((words) => {
    const bytes = cipher.update(new Uint8Array(words.byteLength));
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    for (let i = 0; i < words.length; i++) words[i] = view.getUint32(4 * i, true);
  });
}
