import { anew, type Graph } from '../graph.ts';
import { expectShape, type Value } from '../value.ts';
import { accumulate, once, plain } from './basic.ts';
import { gemm, transposed, type LowRank } from './linear.ts';

/** How the parts of a stacked low-rank addition are weighed for each token. */
export interface Mixer {
  /** G [parts, in]: the logits of a token x are G·x. */
  readonly gate: Value;
  /** P [parts, rank], 1 where a row of A belongs to the part, else 0. Not trained. */
  readonly parts: Value;
}

/**
 * y + scale·((x·Aᵀ) ∘ (softmax(x·Gᵀ)·P))·Bᵀ for x [n, in], y [n, out]: each part of the stack counts, token by token, as much as
 * the mixer says. Gradients of x, y, A, B and G; those of the weights p: dz = p ∘ (dp − Σ dp∘p).
 */
export function gatedLowRank(g: Graph, x: Value, y: Value, low: LowRank, { gate, parts }: Mixer): Value {
  expectShape('mixer', gate, [parts.shape[0], x.shape[1]]);
  const u = gemm(g, x, low.a, { transB: true });
  const logits = gemm(g, x, gate, { transB: true });
  const p = g.node('Softmax', [logits], ['float32', logits.shape], { axis: { int: -1 } });
  const w = gemm(g, p, parts);
  const h = plain.mul(g, u, w);
  const output = gemm(g, h, low.b, { transB: true, alpha: low.scale }, y);
  return g.differentiable([x, y, low.a, low.b, gate], output, (dy) => {
    const dh = once(() => gemm(g, dy, low.b, { alpha: low.scale }));
    const du = once(() => plain.mul(g, dh(), w));
    const dz = once(() => {
      const dp = gemm(g, plain.mul(g, dh(), u), parts, { transB: true });
      return plain.mul(g, p, plain.sub(g, dp, plain.sumLast(g, plain.mul(g, dp, p))));
    });
    return [
      (into) => gemm(g, du(), low.a, {}, gemm(g, dz(), gate, {}, into)),
      (into) => accumulate(g, into, dy),
      (into) => gemm(g, du(), anew(x), { transA: true }, into),
      (into) => accumulate(g, into, transposed(g, gemm(g, h, dy, { transA: true, alpha: low.scale }))),
      (into) => gemm(g, dz(), anew(x), { transA: true }, into),
    ];
  });
}
