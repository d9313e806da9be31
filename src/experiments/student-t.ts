// Lanczos' approximation with g = 7 and nine terms (about 1e-15 relative for x ≥ 0.5).
const lanczos = [
  0.99999999999980993, 676.5203681218851, -1259.1392167224028, 771.32342877765313, -176.61502916214059,
  12.507343278686905, -0.13857109526572012, 9.9843695780195716e-6, 1.5056327351493116e-7,
] as const;

/** ln Γ(x) for x ≥ 0.5. */
function logGamma(x: number): number {
  const z = x - 1;
  let series: number = lanczos[0];
  for (let i = 1; i < lanczos.length; i++) series += lanczos[i]! / (z + i);
  const base = z + 7.5;
  return 0.5 * Math.log(2 * Math.PI) + (z + 0.5) * Math.log(base) - base + Math.log(series);
}

/** The regularised incomplete beta function I_x(a, b), by Lentz's continued fraction (Numerical Recipes, 6.4). */
function incompleteBeta(x: number, a: number, b: number): number {
  if (x <= 0) return 0;
  if (x >= 1) return 1;
  // The fraction converges fast below the mean of the distribution only; the other side by symmetry.
  if (x > (a + 1) / (a + b + 2)) return 1 - incompleteBeta(1 - x, b, a);
  const front = Math.exp(logGamma(a + b) - logGamma(a) - logGamma(b) + a * Math.log(x) + b * Math.log1p(-x)) / a;
  const tiny = 1e-300;
  const safe = (value: number) => (Math.abs(value) < tiny ? tiny : value);
  let c = 1;
  let d = 1 / safe(1 - ((a + b) * x) / (a + 1));
  let fraction = d;
  for (let m = 1; m <= 500; m++) {
    const even = (m * (b - m) * x) / ((a + 2 * m - 1) * (a + 2 * m));
    d = 1 / safe(1 + even * d);
    c = safe(1 + even / c);
    fraction *= d * c;
    const odd = (-(a + m) * (a + b + m) * x) / ((a + 2 * m) * (a + 2 * m + 1));
    d = 1 / safe(1 + odd * d);
    c = safe(1 + odd / c);
    fraction *= d * c;
    if (Math.abs(d * c - 1) < 1e-15) return front * fraction;
  }
  throw new Error(`The incomplete beta function did not converge at x = ${x}, a = ${a}, b = ${b}.`);
}

/** Checks degrees of freedom: any number of at least 1. */
function checkFreedom(freedom: number): void {
  if (!(freedom >= 1 && Number.isFinite(freedom))) {
    throw new Error(`Degrees of freedom must be at least 1, not ${freedom}.`);
  }
}

/** P(|T| > t), the two-sided p-value of Student's t distribution with `freedom` ≥ 1 degrees of freedom. */
export function studentTwoSided(t: number, freedom: number): number {
  checkFreedom(freedom);
  if (Math.abs(t) === Infinity) return 0;
  return incompleteBeta(freedom / (freedom + t * t), freedom / 2, 0.5);
}

/**
 * The t with P(|T| ≤ t) = `confidence` (0 < confidence < 1): half the width of a two-sided interval, in standard errors.
 * Bisection on the exact distribution function, to the last bits of a double.
 */
export function studentCritical(confidence: number, freedom: number): number {
  if (!(confidence > 0 && confidence < 1)) {
    throw new Error(`A confidence must lie between 0 and 1, such as 0.95, not ${confidence}.`);
  }
  const tail = 1 - confidence;
  let low = 0;
  let high = 1;
  while (studentTwoSided(high, freedom) > tail) high *= 2;
  for (let i = 0; i < 200; i++) {
    const middle = (low + high) / 2;
    if (middle <= low || middle >= high) break;
    if (studentTwoSided(middle, freedom) > tail) low = middle;
    else high = middle;
  }
  return (low + high) / 2;
}
