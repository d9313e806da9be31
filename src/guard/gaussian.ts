import type { Tensor, Tensors } from '../tensor/tensor.ts';
import { requireBound } from './clip.ts';

/** A source of independent standard normal draws in float64. Tests may give a seeded one, `stream(…).normal`. */
export type Normal = () => number;

/** Fills an array of at most 65,536 bytes with random ones. */
export type FillRandom = (words: Uint32Array) => void;

/** The system's cryptographic random numbers. */
export const systemRandom: FillRandom = (words) =>
  void globalThis.crypto.getRandomValues(words as Uint32Array<ArrayBuffer>);

/** Draws from (0, 1], multiples of 2⁻⁵³, from the system's cryptographic random numbers: nobody can predict or repeat them. */
export function cryptographicUniform(fill: FillRandom = systemRandom): () => number {
  const words = new Uint32Array(16_384);
  let next = words.length;
  return () => {
    if (next >= words.length) {
      fill(words);
      next = 0;
    }
    const high = words[next]! >>> 5;
    const low = words[next + 1]! >>> 6;
    next += 2;
    return (high * 2 ** 26 + low + 1) * 2 ** -53;
  };
}

/**
 * Standard normal draws from `cryptographicUniform`, for privacy noise.
 * Each is half the sum of four by Box and Muller's method: the gaps that float64 leaves in a single one could tell what it was
 * added to (Holohan and Braghin, Secure random sampling in differential privacy, 2021), and a sum of four fills them.
 */
export function cryptographicNormal(fill: FillRandom = systemRandom): Normal {
  const uniform = cryptographicUniform(fill);
  /** The sum of two independent draws. */
  function pair(): number {
    const radius = Math.sqrt(-2 * Math.log(uniform()));
    const angle = 2 * Math.PI * uniform();
    return radius * (Math.cos(angle) + Math.sin(angle));
  }
  return () => (pair() + pair()) / 2;
}

/**
 * What may leave an honest server: (sum + noise·bound·N(0, I))/count, in float64 and rounded to float32 once. `sum` is that of
 * updates clipped to `bound` with weight 1 each; `count` is fixed beforehand (rate × clients), not the number that took part.
 * McMahan, Ramage, Talwar and Zhang, Learning differentially private recurrent language models, ICLR 2018.
 */
export function noisyMean(
  sum: Tensors,
  options: { readonly bound: number; readonly noise: number; readonly count: number; readonly normal: Normal },
): Tensors {
  const { bound, noise, count, normal } = options;
  requireBound(bound);
  if (!(noise > 0 && noise < Infinity)) throw new Error(`a noise multiplier must be above 0, not ${noise}`);
  if (!(count > 0 && count < Infinity)) throw new Error(`the expected number of clients must be above 0, not ${count}`);
  const deviation = noise * bound;
  const out = new Map<string, Tensor>();
  for (const [name, { shape, data }] of sum) {
    const noised = new Float32Array(data.length);
    for (let i = 0; i < noised.length; i++) noised[i] = (data[i]! + deviation * normal()) / count;
    out.set(name, { shape, data: noised });
  }
  return out;
}
