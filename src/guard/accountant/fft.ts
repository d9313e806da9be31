/** The discrete Fourier transform of `length` complex numbers in place, in two arrays of real and imaginary parts. */
export interface Fourier {
  /** Σ_j x_j·e^{−2πi jk/n} for every k. */
  forward(real: Float64Array, imaginary: Float64Array): void;
  /** The inverse of `forward`, with its 1/n. */
  inverse(real: Float64Array, imaginary: Float64Array): void;
}

/** A radix-2 transform for a power of two, with the roots of unity computed once, each to full precision. */
export function fourier(length: number): Fourier {
  if (!Number.isInteger(Math.log2(length))) throw new Error(`a length of ${length} is not a power of two`);
  const half = length / 2;
  const cosines = new Float64Array(half);
  const sines = new Float64Array(half);
  for (let k = 0; k < half; k++) {
    cosines[k] = Math.cos((2 * Math.PI * k) / length);
    sines[k] = -Math.sin((2 * Math.PI * k) / length);
  }
  function forward(real: Float64Array, imaginary: Float64Array): void {
    reverseBits(real, imaginary);
    for (let size = 1; size < length; size *= 2) {
      const stride = half / size;
      for (let start = 0; start < length; start += 2 * size) {
        for (let k = 0, root = 0; k < size; k++, root += stride) {
          const low = start + k;
          const high = low + size;
          const c = cosines[root]!;
          const s = sines[root]!;
          const x = real[high]! * c - imaginary[high]! * s;
          const y = real[high]! * s + imaginary[high]! * c;
          real[high] = real[low]! - x;
          imaginary[high] = imaginary[low]! - y;
          real[low] = real[low]! + x;
          imaginary[low] = imaginary[low]! + y;
        }
      }
    }
  }
  return {
    forward,
    inverse(real, imaginary) {
      // Swapping the parts before and after conjugates the transform.
      forward(imaginary, real);
      for (let k = 0; k < length; k++) {
        real[k] = real[k]! / length;
        imaginary[k] = imaginary[k]! / length;
      }
    },
  };
}

function reverseBits(real: Float64Array, imaginary: Float64Array): void {
  const length = real.length;
  for (let i = 1, j = 0; i < length; i++) {
    let bit = length >> 1;
    for (; j & bit; bit >>= 1) j ^= bit;
    j ^= bit;
    if (i < j) {
      [real[i], real[j]] = [real[j]!, real[i]!];
      [imaginary[i], imaginary[j]] = [imaginary[j]!, imaginary[i]!];
    }
  }
}
