/**
 * The normal distribution function to full float64 precision, also far out in its tails, by the rational approximations
 * of W. J. Cody, Rational Chebyshev approximations for the error function, Math. Comp. 23 (1969).
 */
const A = [0.18577770618460315, 3.1611237438705655, 113.86415415105016, 377.485237685302, 3209.3775891384694];
const B = [1, 23.601290952344122, 244.02463793444417, 1282.6165260773723, 2844.236833439171];
const C = [
  2.1531153547440383e-8, 0.5641884969886701, 8.883149794388377, 66.11919063714163, 298.6351381974001, 881.952221241769,
  1712.0476126340707, 2051.0783778260716, 1230.3393547979972,
];
const D = [
  1, 15.744926110709835, 117.6939508913125, 537.1811018620099, 1621.3895745666903, 3290.7992357334597,
  4362.619090143247, 3439.3676741437216, 1230.3393548037495,
];
const P = [
  0.016315387137302097, 0.30532663496123236, 0.36034489994980445, 0.12578172611122926, 0.016083785148742275,
  0.0006587491615298378,
];
const Q = [1, 2.568520192289822, 1.8729528499234604, 0.5279051029514285, 0.06051834131244132, 0.0023352049762686918];

/** Coefficients from the highest power down. */
function polynomial(coefficients: readonly number[], x: number): number {
  let value = 0;
  for (const c of coefficients) value = value * x + c;
  return value;
}

/** e^{x²}·erfc(x) for x ≥ 0.46875. */
function scaledErfc(x: number): number {
  if (x <= 4) return polynomial(C, x) / polynomial(D, x);
  const y = 1 / (x * x);
  return (1 / Math.sqrt(Math.PI) - (y * polynomial(P, y)) / polynomial(Q, y)) / x;
}

/** e^{−x²} with x² in two parts, so that its rounding is not magnified. */
function expOfMinusSquare(x: number): number {
  const head = Math.trunc(x * 16) / 16;
  return Math.exp(-head * head) * Math.exp(-(x - head) * (x + head));
}

/** 1 − erf(x), with relative precision of about 1e-15 also where it is tiny. */
export function erfc(x: number): number {
  const size = Math.abs(x);
  if (size <= 0.46875) return 1 - (x * polynomial(A, x * x)) / polynomial(B, x * x);
  const tail = size > 27 ? 0 : expOfMinusSquare(size) * scaledErfc(size);
  return x > 0 ? tail : 2 - tail;
}

/** Φ(x), the chance of a standard normal draw to be at most x. */
export const normalCdf = (x: number): number => 0.5 * erfc(-x / Math.SQRT2);

/** ln Φ(x), finite also where Φ(x) is below the least float64. */
export function logNormalCdf(x: number): number {
  if (x > -1) return Math.log(normalCdf(x));
  const y = -x / Math.SQRT2;
  return Math.log(0.5 * scaledErfc(y)) - y * y;
}
