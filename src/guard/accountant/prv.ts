import { UserError } from '../../errors.ts';
import { fourier } from './fft.ts';
import { gridFor, type Grid } from './grid.ts';
import { expectedLoss, lossCdf, type Direction } from './privacy-loss.ts';
import { requireDelta, requireSpending, type Spending } from './spending.ts';

/** ε with a guarantee: the true value lies between `lower` and `upper`. */
export interface EpsilonBounds {
  readonly lower: number;
  readonly estimate: number;
  readonly upper: number;
}

const directions = ['remove', 'add'] as const satisfies readonly Direction[];

/**
 * The ε of everything in `history` at this δ, by composing the privacy loss itself: its distribution is put on a grid,
 * rounded so that its mean stays, convolved with itself by FFT, and δ(ε) = E[(1 − e^{ε − Y})₊] is solved for ε; the larger of
 * adding and removing a client counts. After Gopi, Lee and Wutschitz, Numerical composition of differential privacy, NeurIPS
 * 2021; docs/privacy.md derives the bounds. Golden: dp.json. An empty history gives 0.
 *
 * `precision` is the wanted half width of the bounds. Throws UserError for numbers out of range, and for a δ so small that
 * float64 arithmetic on the grid could hide it.
 */
export function prvEpsilon(history: readonly Spending[], delta: number, precision?: number): EpsilonBounds {
  for (const spending of history) requireSpending(spending);
  requireDelta(delta);
  if (history.length === 0) return { lower: 0, estimate: 0, upper: 0 };
  const grid = gridFor(history, delta, precision);
  const slack = grid.deltaError + grid.floatError;
  if (!(slack < delta / 4)) {
    throw new UserError(
      `delta: ${delta} is too small for the PRV accountant, whose arithmetic is exact to ${grid.floatError.toExponential(1)} here; use the RDP accountant, or a delta of at least ${(8 * grid.floatError).toExponential(0)}`,
    );
  }
  const [removed, added] = compose(history, grid);
  const worst = (target: number): number => Math.max(epsilonOf(removed, target, grid), epsilonOf(added, target, grid));
  return {
    lower: Math.max(0, worst(delta + slack) - grid.epsilonError),
    estimate: worst(delta),
    upper: worst(delta - slack) + grid.epsilonError,
  };
}

/** Chances on the grid (index 0 is loss `shift`, the upper half of the indices are negative losses), and their shift. */
interface Composed {
  readonly chances: Float64Array;
  readonly shift: number;
}

/** The distributions of the total loss in both directions. Each is real, so that one complex transform carries the two. */
function compose(history: readonly Spending[], grid: Grid): readonly [Composed, Composed] {
  const { size } = grid;
  const transform = fourier(size);
  const products = directions.map(() => ({
    real: new Float64Array(size / 2 + 1).fill(1),
    imaginary: new Float64Array(size / 2 + 1),
  }));
  const shifts = [0, 0];
  for (const spending of history) {
    const [remove, add] = directions.map((direction) => discretise(direction, spending, grid));
    for (const [i, { shift }] of [remove!, add!].entries()) shifts[i] = shifts[i]! + spending.steps * shift;
    const real = remove!.chances;
    const imaginary = add!.chances;
    transform.forward(real, imaginary);
    for (let k = 0; k <= size / 2; k++) {
      const opposite = k === 0 ? 0 : size - k;
      // The transforms of the real part and of the imaginary part, by their symmetry; the other half is their conjugate.
      multiplyPower(
        products[0]!,
        k,
        (real[k]! + real[opposite]!) / 2,
        (imaginary[k]! - imaginary[opposite]!) / 2,
        spending.steps,
      );
      multiplyPower(
        products[1]!,
        k,
        (imaginary[k]! + imaginary[opposite]!) / 2,
        (real[opposite]! - real[k]!) / 2,
        spending.steps,
      );
    }
  }
  const [p, a] = products;
  const real = new Float64Array(size);
  const imaginary = new Float64Array(size);
  for (let k = 0; k < size; k++) {
    const mirrored = k > size / 2;
    const from = mirrored ? size - k : k;
    const sign = mirrored ? -1 : 1;
    real[k] = p!.real[from]! - sign * a!.imaginary[from]!;
    imaginary[k] = sign * p!.imaginary[from]! + a!.real[from]!;
  }
  transform.inverse(real, imaginary);
  if (shifts.some((shift) => Math.abs(shift) > grid.margin)) {
    throw new UserError('the PRV accountant cannot resolve rounds with so little loss each; use the RDP accountant');
  }
  return [
    { chances: real, shift: shifts[0]! },
    { chances: imaginary, shift: shifts[1]! },
  ];
}

/** Multiplies entry k by (x + iy)^steps. */
function multiplyPower(
  product: { real: Float64Array; imaginary: Float64Array },
  k: number,
  x: number,
  y: number,
  steps: number,
): void {
  const size = Math.exp((steps / 2) * Math.log(x * x + y * y));
  const angle = steps * Math.atan2(y, x);
  const c = size * Math.cos(angle);
  const s = size * Math.sin(angle);
  const real = product.real[k]!;
  const imaginary = product.imaginary[k]!;
  product.real[k] = real * c - imaginary * s;
  product.imaginary[k] = real * s + imaginary * c;
}

/** One round's loss rounded to the grid; `shift` is what the rounding took from its mean. */
function discretise(direction: Direction, { noise, rate }: Spending, { size, mesh }: Grid): Composed {
  const chances = new Float64Array(size);
  let below = lossCdf(direction, (-size / 2 - 0.5) * mesh, noise, rate);
  let total = 0;
  let mean = 0;
  for (let j = -size / 2; j < size / 2; j++) {
    const upTo = lossCdf(direction, (j + 0.5) * mesh, noise, rate);
    const chance = upTo - below;
    below = upTo;
    chances[j < 0 ? j + size : j] = chance;
    total += chance;
    mean += chance * j;
  }
  for (let k = 0; k < size; k++) chances[k] = chances[k]! / total;
  return { chances, shift: expectedLoss(direction, noise, rate) - (mean * mesh) / total };
}

/** The ε ≥ 0 at which δ(ε) = Σ_{t > ε} chance(t)·(1 − e^{ε − t}) is `target`; 0 where δ(0) is less. */
function epsilonOf({ chances, shift }: Composed, target: number, { size, mesh }: Grid): number {
  const decay = Math.exp(-mesh);
  let above = 0;
  // Σ chance(t)·e^{ε − t} for the ε of the moment: no exponential that overflows.
  let discounted = 0;
  for (let j = size / 2 - 1; j >= -size / 2; j--) {
    const epsilon = j * mesh + shift;
    if (epsilon < 0 || above - discounted >= target) {
      // Solve between this grid point and the next: no chances lie between.
      if (!(above > target)) return 0;
      return Math.max(0, epsilon + Math.log((above - target) / discounted));
    }
    const chance = Math.max(0, chances[j < 0 ? j + size : j]!);
    above += chance;
    discounted = (discounted + chance) * decay;
  }
  return 0;
}
