import { systemRandom, type FillRandom } from './gaussian.ts';

/** Uniform 32-bit words. */
export type Words = () => number;

/** Words as they come from a source, by default the system's cryptographic random numbers. */
export function wordsFrom(fill: FillRandom = systemRandom): Words {
  const words = new Uint32Array(16_384);
  let next = words.length;
  return () => {
    if (next === words.length) {
      fill(words);
      next = 0;
    }
    return words[next++]!;
  };
}

/**
 * Whole numbers x with probability proportional to e^{−x²/2V}, exactly: Canonne, Kamath and Steinke, The discrete Gaussian for
 * differential privacy, 2020, algorithms 1 to 3. Their comparisons of a uniform number with a fraction are decided in float64
 * where its error cannot matter (but for one in 10⁹), else by whole numbers of any size: no rounding reaches what is drawn. How
 * long a draw takes depends on it.
 * @param variance V, a whole number from 1 to 2⁶²
 */
export function discreteGaussian(variance: number, words: Words = wordsFrom()): () => number {
  if (!(Number.isInteger(variance) && variance >= 1 && variance <= 2 ** 62))
    throw new Error(`the variance of a discrete Gaussian must be a whole number from 1 to 2^62, not ${variance}`);
  const scale = Math.floor(Math.sqrt(variance)) + 1;
  const laplace = discreteLaplace(scale, words);
  const centre = variance / scale;
  const [V, t] = [BigInt(variance), BigInt(scale)];
  return () => {
    for (;;) {
      const drawn = laplace();
      const size = Math.abs(drawn);
      const power = (size - centre) ** 2 / (2 * variance);
      // (|y| − V/t)²/2V as a fraction.
      if (exponential(power, () => [(BigInt(size) * t - V) ** 2n, 2n * V * t * t], words)) return drawn;
    }
  };
}

/** Whole numbers x with probability proportional to e^{−|x|/scale}; `scale` a whole number, at most 2³² . */
function discreteLaplace(scale: number, words: Words): () => number {
  const under = BigInt(scale);
  // Words from here on would make some remainders likelier.
  const fair = 2 ** 32 - (2 ** 32 % scale);
  return () => {
    for (;;) {
      const word = words();
      if (word >= fair) continue;
      const rest = word % scale;
      if (!exponential(rest / scale, () => [BigInt(rest), under], words)) continue;
      let whole = 0;
      while (exponential(1, () => [1n, 1n], words)) whole++;
      const size = rest + scale * whole;
      const negative = (words() & 1) === 1;
      // Zero would come twice as often as it should.
      if (negative && size === 0) continue;
      return negative ? -size : size;
    }
  };
}

/** A number as the fraction that it is. */
type Fraction = () => readonly [over: bigint, under: bigint];

/** How far a power may be from the fraction it stands for: a few roundings to float64, generously. */
const errorOf = (power: number): number => 2 ** -48 * (1 + power);

/** True with probability e^{−power}; `exact` is the power, to which `power` is near. */
function exponential(power: number, exact: Fraction, words: Words): boolean {
  const error = errorOf(power);
  let whole = Math.floor(power);
  if (power - whole < error || whole + 1 - power < error) {
    const [over, under] = exact();
    whole = Number(over / under);
  }
  for (let k = 0; k < whole; k++) if (!series(1, 0, () => [1n, 1n], words)) return false;
  return series(power - whole, error, () => remainder(exact, whole), words);
}

function remainder(exact: Fraction, whole: number): readonly [bigint, bigint] {
  const [over, under] = exact();
  return [over - BigInt(whole) * under, under];
}

/** True with probability e^{−power} for a power from 0 to 1: whether the first k with no success of chance power/k is odd. */
function series(power: number, error: number, exact: Fraction, words: Words): boolean {
  for (let k = 1; ; k++) {
    if (!chance(power / k, error + 2 ** -52, () => times(exact, k), words)) return k % 2 === 1;
  }
}

function times(exact: Fraction, k: number): readonly [bigint, bigint] {
  const [over, under] = exact();
  return [over, under * BigInt(k)];
}

/** True with the probability that `exact` is, from 0 to 1, to which `near` is nearer than `error`. */
export function chance(near: number, error: number, exact: Fraction, words: Words): boolean {
  const first = words();
  if ((first + 1) * 2 ** -32 <= near - error) return true;
  if (first * 2 ** -32 >= near + error) return false;
  // The digits of a uniform number, as many as it takes.
  const [over, under] = exact();
  let [digits, one] = [BigInt(first), 2n ** 32n];
  for (;;) {
    if ((digits + 1n) * under <= over * one) return true;
    if (digits * under >= over * one) return false;
    digits = (digits << 32n) | BigInt(words());
    one <<= 32n;
  }
}
