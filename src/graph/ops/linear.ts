import { anew, type Graph } from '../graph.ts';
import { expectShape, type Value } from '../value.ts';
import { accumulate, once } from './basic.ts';

/** y = alpha·op(a)·op(b) + c, all of them matrices. */
export function gemm(
  g: Graph,
  a: Value,
  b: Value,
  { transA = false, transB = false, alpha = 1 }: { transA?: boolean; transB?: boolean; alpha?: number } = {},
  c?: Value,
): Value {
  const [rows, inner] = transA ? [a.shape[1], a.shape[0]] : [a.shape[0], a.shape[1]];
  const [innerB, columns] = transB ? [b.shape[1], b.shape[0]] : [b.shape[0], b.shape[1]];
  if (a.shape.length !== 2 || b.shape.length !== 2 || inner !== innerB)
    throw new Error(`Gemm of ${a.name} [${a.shape.join(', ')}] and ${b.name} [${b.shape.join(', ')}] does not fit`);
  return g.node('Gemm', c === undefined ? [a, b] : [a, b, c], ['float32', [rows ?? '?', columns ?? '?']], {
    ...(transA ? { transA: { int: 1 } } : {}),
    ...(transB ? { transB: { int: 1 } } : {}),
    ...(alpha === 1 ? {} : { alpha: { float: alpha } }),
  });
}

/** A low-rank addition scale·B·A to a weight: A [rank, in], B [out, rank]. */
export interface LowRank {
  readonly a: Value;
  readonly b: Value;
  readonly scale: number;
}

/**
 * x [n, in] → x·Wᵀ (+ bias) (+ scale·(x·Aᵀ)·Bᵀ) [n, out], W as Hugging Face stores it: [out, in].
 * Scaling and additions ride in Gemm's alpha and C, forward and backward.
 */
export function linear(g: Graph, x: Value, weight: Value, bias?: Value, low?: LowRank): Value {
  expectShape('linear x', x, [undefined, weight.shape[1]]);
  let y = gemm(g, x, weight, { transB: true }, bias);
  const u = low && gemm(g, x, low.a, { transB: true });
  if (low && u) y = gemm(g, u, low.b, { transB: true, alpha: low.scale }, y);
  const inputs = [x, weight, ...(bias ? [bias] : []), ...(low ? [low.a, low.b] : [])];
  return g.differentiable(inputs, y, (dy) => {
    const du = once(() => low && gemm(g, dy, low.b, { alpha: low.scale }));
    const dx = (into?: Value): Value => {
      const through = gemm(g, dy, anew(weight), {}, into);
      const part = du();
      return low && part ? gemm(g, part, low.a, {}, through) : through;
    };
    return [
      dx,
      (into) => gemm(g, dy, anew(x), { transA: true }, into),
      ...(bias ? [(into?: Value) => columnSums(g, dy, into)] : []),
      ...(low
        ? [
            (into?: Value) => gemm(g, du() as Value, anew(x), { transA: true }, into),
            (into?: Value) =>
              accumulate(g, into, transposed(g, gemm(g, u as Value, dy, { transA: true, alpha: low.scale }))),
          ]
        : []),
    ];
  });
}

/** Of a small matrix: cheaper than a product whose tall side is the transposed one. */
export const transposed = (g: Graph, x: Value): Value =>
  g.node('Transpose', [x], [x.dtype, x.shape.toReversed()], { perm: [1, 0] });

function columnSums(g: Graph, dy: Value, into: Value | undefined): Value {
  const sums = g.node('ReduceSum', [dy, g.int64(0)], ['float32', dy.shape.slice(1)], { keepdims: { int: 0 } });
  return into === undefined ? sums : g.node('Add', [into, sums], ['float32', sums.shape]);
}
