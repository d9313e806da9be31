import { xoroshiro128plusFromState } from 'pure-rand/generator/xoroshiro128plus';
import { murmur128 } from './hash.ts';

/** A stream of random draws. It has state: the order of the calls matters. Not for privacy noise or masks. */
export interface Random {
  /** In [0, 1), a multiple of 2⁻⁵³. */
  readonly uniform: () => number;
  /** In 0 … n − 1, without bias. */
  readonly integer: (n: number) => number;
  /** Standard normal. */
  readonly normal: () => number;
  /** Gamma of that shape (> 0) and scale 1. */
  readonly gamma: (shape: number) => number;
  /** Shares that sum to 1, one per entry of `alpha` (all > 0). */
  readonly dirichlet: (alpha: readonly number[]) => number[];
  /** A new array in random order. */
  readonly shuffle: <T>(array: readonly T[]) => T[];
  /** `k` different elements in random order. */
  readonly sample: <T>(array: readonly T[], k: number) => T[];
}

/**
 * The stream of a seed and a path of names, e.g. `stream(seed, 'sampling', round)`. Different paths give independent
 * streams (the number 1 and the string "1" differ too); the same path gives the same draws on every machine.
 * xoroshiro128+ from a 128-bit hash of the whole path.
 */
export function stream(seed: number, ...names: readonly (string | number)[]): Random {
  return randomOf(uniformOf(murmur128(pathBytes([seed, ...names]))));
}

/** Type, length and content of each part, so that no two paths share their bytes. */
function pathBytes(parts: readonly (string | number)[]): Uint8Array {
  const size = parts.reduce<number>((sum, part) => sum + 5 + (typeof part === 'string' ? 2 * part.length : 8), 0);
  const view = new DataView(new ArrayBuffer(size));
  let at = 0;
  for (const part of parts) {
    if (typeof part === 'number') {
      if (!Number.isFinite(part)) throw new Error(`a random stream cannot be named by ${part}`);
      view.setUint8(at, 1);
      view.setUint32(at + 1, 8, true);
      view.setFloat64(at + 5, part + 0, true);
      at += 13;
    } else {
      view.setUint8(at, 2);
      view.setUint32(at + 1, 2 * part.length, true);
      for (let i = 0; i < part.length; i++) view.setUint16(at + 5 + 2 * i, part.charCodeAt(i), true);
      at += 5 + 2 * part.length;
    }
  }
  return new Uint8Array(view.buffer);
}

const TWO_53 = 2 ** 53;

function uniformOf(state: readonly number[]): () => number {
  // The one state that xoroshiro cannot leave.
  const generator = xoroshiro128plusFromState(state.every((word) => word === 0) ? [1, 2, 3, 4] : state);
  // The lowest bits of xoroshiro128+ are its weak ones: 27 and 26 high bits of two words make the 53.
  return () => {
    const high = generator.next() >>> 5;
    const low = generator.next() >>> 6;
    return (high * 2 ** 26 + low) / TWO_53;
  };
}

function randomOf(uniform: () => number): Random {
  let spare: number | undefined;

  function integer(n: number): number {
    if (!Number.isSafeInteger(n) || n < 1)
      throw new Error(`a random integer needs a whole bound of at least 1, not ${n}`);
    const share = Math.floor(TWO_53 / n);
    for (;;) {
      const drawn = Math.floor((uniform() * TWO_53) / share);
      if (drawn < n) return drawn;
    }
  }

  /** Marsaglia's polar method. */
  function normal(): number {
    if (spare !== undefined) {
      const kept = spare;
      spare = undefined;
      return kept;
    }
    for (;;) {
      const x = 2 * uniform() - 1;
      const y = 2 * uniform() - 1;
      const square = x * x + y * y;
      if (square > 0 && square < 1) {
        const factor = Math.sqrt((-2 * Math.log(square)) / square);
        spare = y * factor;
        return x * factor;
      }
    }
  }

  /** ln of a gamma draw: small shapes give numbers far below the least float64. Marsaglia and Tsang (2000). */
  function logGamma(shape: number): number {
    if (!(shape > 0 && shape < Infinity)) throw new Error(`a gamma distribution needs a shape above 0, not ${shape}`);
    if (shape < 1) return logGamma(shape + 1) + Math.log(1 - uniform()) / shape;
    const d = shape - 1 / 3;
    const c = 1 / Math.sqrt(9 * d);
    for (;;) {
      const x = normal();
      const root = 1 + c * x;
      if (root <= 0) continue;
      const v = root * root * root;
      if (Math.log(1 - uniform()) < 0.5 * x * x + d - d * v + d * Math.log(v)) return Math.log(d) + Math.log(v);
    }
  }

  function dirichlet(alpha: readonly number[]): number[] {
    const logs = alpha.map(logGamma);
    const largest = Math.max(...logs);
    const shares = logs.map((log) => Math.exp(log - largest));
    const total = shares.reduce((sum, share) => sum + share, 0);
    return shares.map((share) => share / total);
  }

  function sample<T>(array: readonly T[], k: number): T[] {
    if (!Number.isSafeInteger(k) || k < 0 || k > array.length) {
      throw new Error(`cannot draw ${k} of ${array.length} without repeating`);
    }
    const pool = [...array];
    for (let i = 0; i < k; i++) {
      const j = i + integer(pool.length - i);
      [pool[i], pool[j]] = [pool[j]!, pool[i]!];
    }
    pool.length = k;
    return pool;
  }

  return {
    uniform,
    integer,
    normal,
    gamma: (shape) => Math.exp(logGamma(shape)),
    dirichlet,
    shuffle: (array) => sample(array, array.length),
    sample,
  };
}
