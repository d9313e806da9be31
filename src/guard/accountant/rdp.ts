import { UserError } from '../../errors.ts';
import { requireDelta, requireNoise, requireRate, requireSpending, type Spending } from './spending.ts';

const farOrders = [
  64, 72, 80, 96, 112, 128, 160, 192, 256, 384, 512, 768, 1024, 2048, 4096, 8192, 16_384, 32_768, 65_536,
];

/**
 * 1.1 … 10.9 and 12 … 63 as Opacus has them; a few beyond for very small and very large ε. Whatever the noise, an order says no less
 * than about −ln(δ·order)/order: orders up to 1024 would say no ε below 0.003 at δ = 1e-5.
 */
export const defaultOrders: readonly number[] = [
  1.01,
  1.02,
  1.05,
  ...Array.from({ length: 99 }, (_, i) => (11 + i) / 10),
  ...Array.from({ length: 52 }, (_, i) => 12 + i),
  ...farOrders,
];

/**
 * The Rényi divergence D_α(P ‖ Q) of one round: P = (1 − q)·N(0, z²) + q·N(1, z²), Q = N(0, z²). The divergence in the
 * other direction is never larger (Mironov, Talwar and Zhang, Rényi differential privacy of the sampled Gaussian mechanism,
 * 2019), so this bounds both adding and removing a client. Any order α > 1, whole or not.
 */
export function rdpOfStep(order: number, noise: number, rate: number): number {
  if (!(order > 1 && order < Infinity)) throw new UserError(`order: expected a number above 1, got ${order}`);
  requireNoise(noise);
  requireRate(rate);
  if (rate === 1) return order / (2 * noise * noise);
  const logExcess = Number.isInteger(order) ? wholeOrder(order, noise, rate) : anyOrder(order, noise, rate);
  return logOnePlusExp(logExcess) / (order - 1);
}

/** Σ steps·D_α for each order: Rényi divergences of rounds add up. */
export function rdpOfHistory(history: readonly Spending[], orders: readonly number[] = defaultOrders): number[] {
  for (const spending of history) requireSpending(spending);
  return orders.map((order) =>
    history.reduce((sum, { noise, rate, steps }) => sum + steps * rdpOfStep(order, noise, rate), 0),
  );
}

/**
 * The ε at which everything in `history` together is (ε, δ)-differentially private, the least over the orders α of
 * D_α − (ln δ + ln α)/(α − 1) + ln((α − 1)/α), and the order that gives it. An empty history gives 0.
 * Conversion: Canonne, Kamath and Steinke, The discrete Gaussian, 2020, proposition 12, as in Opacus. Golden: dp.json.
 */
export function rdpEpsilon(
  history: readonly Spending[],
  delta: number,
  orders: readonly number[] = defaultOrders,
): { readonly epsilon: number; readonly order: number | undefined } {
  if (orders.length === 0) throw new UserError('orders: expected at least one order above 1, got none');
  if (history.length > 0) return epsilonOfRdp(rdpOfHistory(history, orders), delta, orders);
  requireDelta(delta);
  return { epsilon: 0, order: undefined };
}

/** The same from the divergences themselves, one for each order. */
export function epsilonOfRdp(
  divergences: readonly number[],
  delta: number,
  orders: readonly number[] = defaultOrders,
): { readonly epsilon: number; readonly order: number } {
  requireDelta(delta);
  let epsilon = Infinity;
  let best = orders[0]!;
  for (const [i, divergence] of divergences.entries()) {
    const order = orders[i]!;
    const at = divergence - (Math.log(delta) + Math.log(order)) / (order - 1) + Math.log((order - 1) / order);
    if (at < epsilon) [epsilon, best] = [at, order];
  }
  return { epsilon: Math.max(0, epsilon), order: best };
}

/**
 * ln(E_Q[(P/Q)^α] − 1) for a whole α. The expectation is Σ_i C(α, i)(1 − q)^{α−i} q^i e^{(i² − i)/2z²}; the binomial terms
 * alone sum to 1, so the excess is the same sum with e^{…} − 1: all terms are positive, and no digits are lost for small q.
 */
function wholeOrder(order: number, noise: number, rate: number): number {
  const terms: number[] = [];
  const [logRate, logRest] = [Math.log(rate), Math.log1p(-rate)];
  let logChoose = 0;
  for (let i = 1; i <= order; i++) {
    logChoose += Math.log((order - i + 1) / i);
    if (i === 1) continue;
    const power = (i * i - i) / (2 * noise * noise);
    terms.push(logChoose + i * logRate + (order - i) * logRest + logExpMinusOne(power));
  }
  return logSumExp(terms);
}

/**
 * The same for any α: ∫ Q(x)·g(P/Q(x)) dx with g(L) = L^α − 1 − α(L − 1), which is never negative and integrates to the
 * excess because E_Q[P/Q] = 1. The trapezoidal rule converges exponentially for an integrand analytic around the real line.
 */
function anyOrder(order: number, noise: number, rate: number): number {
  // The nearest singularity lies π·z² from the real line.
  const step = Math.min(noise / 20, (noise * noise) / 2);
  const reach = 13 * noise;
  // Little noise leaves two separate peaks, around 0 and around the order, with nothing of weight between them.
  const apart = noise < 0.1 && order > 2 * reach;
  const windows = apart ? [-reach, order - reach] : [-reach];
  const width = apart ? 2 * reach : Math.max(order, 2) + 2 * reach;
  const logs = windows.flatMap((from) =>
    Array.from({ length: Math.ceil(width / step) + 1 }, (_, k) => {
      const x = from + k * step;
      return logConvex(order, rate, (2 * x - 1) / (2 * noise * noise)) - (x * x) / (2 * noise * noise);
    }),
  );
  return logSumExp(logs) + Math.log(step / (noise * Math.sqrt(2 * Math.PI)));
}

/** ln g(L) for L = 1 − q + q·e^u; −∞ at L = 1. */
function logConvex(order: number, rate: number, u: number): number {
  if (u < 30) {
    const y = rate * Math.expm1(u);
    const small = order * Math.abs(y);
    // Below, the first three terms of the binomial series cancel: what is left of it.
    if (small < 0.01) {
      let series = 1;
      for (let n = 7; n >= 3; n--) series = 1 + (((order - n + 1) * y) / n) * series;
      return Math.log((order * (order - 1)) / 2) + 2 * Math.log(Math.abs(y)) + Math.log(series);
    }
    const power = order * Math.log1p(y);
    if (power < 30) return Math.log(Math.expm1(power) - order * y);
  }
  const logRatio = Math.log(rate) + u + Math.log1p(((1 - rate) / rate) * Math.exp(-u));
  const rest = (order - 1) * Math.exp(-order * logRatio) - order * Math.exp((1 - order) * logRatio);
  return order * logRatio + Math.log1p(rest);
}

const logExpMinusOne = (x: number): number => (x > 40 ? x : Math.log(Math.expm1(x)));

const logOnePlusExp = (x: number): number => (x > 40 ? x : Math.log1p(Math.exp(x)));

function logSumExp(logs: readonly number[]): number {
  let largest = -Infinity;
  for (const log of logs) largest = Math.max(largest, log);
  if (largest === -Infinity) return largest;
  let sum = 0;
  for (const log of logs) sum += Math.exp(log - largest);
  return largest + Math.log(sum);
}
