/** Numbers to each of which every client adds a discrete Gaussian of its own, all in steps of one grid. */
export interface NoisedNumbers {
  /** How many. */
  readonly numbers: number;
  /** The largest norm of what one client adds to them, in steps. */
  readonly sensitivity: number;
  /** Of each client's noise on each, in steps: at least ½. */
  readonly deviation: number;
}

/**
 * τ = 10·Σ_{k=1}^{n−1} e^{−2π²σ²·k/(k+1)}: how far the sum of n discrete Gaussians of deviation σ may be from one, in each number.
 * Below e^{−745} it is 0 in float64: for σ above 9.
 * Kairouz, Liu and Steinke, The distributed discrete Gaussian mechanism for federated learning with secure aggregation, ICML 2021.
 */
export function summationError(clients: number, deviation: number): number {
  if (!(deviation >= 0.5)) throw new Error(`noise of ${deviation} steps is too little for its bound: at least ½`);
  let sum = 0;
  for (let k = 1; k < clients; k++) {
    const term = Math.exp((-2 * Math.PI ** 2 * deviation ** 2 * k) / (k + 1));
    // Terms only shrink: those left are no more than this one each.
    if (term === 0) break;
    sum += term;
  }
  return 10 * sum;
}

/**
 * The multiplier z for which a Gaussian would cost the same as sums over `clients` clients' own noise, all numbers together:
 * D_α ≤ α/2·(√Σ(Δ_p/√n·σ_p)² + √Σ d_p·τ_p²)² = α/2z² (proposition 14 there, number by number, and the triangle inequality).
 * More clients' noise is work on what was seen already, and costs no more.
 */
export function equivalentNoise(parts: readonly NoisedNumbers[], clients: number): number {
  const total = (term: (part: NoisedNumbers) => number): number =>
    Math.sqrt(parts.reduce((sum, part) => sum + term(part), 0));
  const gaussian = total(({ sensitivity, deviation }) => sensitivity ** 2 / (clients * deviation ** 2));
  const error = total(({ numbers, deviation }) => numbers * summationError(clients, deviation) ** 2);
  return 1 / (gaussian + error);
}
