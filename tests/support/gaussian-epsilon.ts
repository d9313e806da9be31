import { gaussianDelta } from '../../src/guard/accountant/gaussian.ts';

/** The exact ε at rate 1, rounded up in its last digits. It is what both accountants are checked against. */
export function gaussianEpsilon(noise: number, steps: number, delta: number): number {
  if (gaussianDelta(noise, steps, 0) <= delta) return 0;
  let low = 0;
  let high = 1;
  while (gaussianDelta(noise, steps, high) > delta) [low, high] = [high, high * 2];
  while (high - low > 1e-13 * high) {
    const middle = (low + high) / 2;
    if (middle === low || middle === high) break;
    if (gaussianDelta(noise, steps, middle) > delta) low = middle;
    else high = middle;
  }
  return high;
}
