import type { Graph } from '../graph.ts';
import { sameShape, type Value } from '../value.ts';
import { accumulate, once, plain } from './basic.ts';

/** x·σ(x), as one fused op of ONNX Runtime. */
const silu = (g: Graph, x: Value): Value =>
  g.node('QuickGelu', [x], ['float32', x.shape], { alpha: { float: 1 } }, 'com.microsoft');

/** silu(gate) ∘ up, the gated activation of Llama's MLP. With σ = σ(gate): silu' = σ·(1 + gate − silu(gate)). */
export function swiglu(g: Graph, gate: Value, up: Value): Value {
  if (!sameShape(gate, up)) throw new Error(`SwiGLU of ${gate.name} and ${up.name}: shapes differ`);
  const output = plain.mul(g, silu(g, gate), up);
  const sigma = once(() => g.node('Sigmoid', [gate], ['float32', gate.shape]));
  const act = once(() => silu(g, gate));
  const again = once(() => plain.mul(g, act(), up));
  return g.differentiable([gate, up], { ...output, again }, (d) => [
    (into) => {
      const slope = plain.mul(g, plain.add(g, plain.sub(g, gate, act()), g.scalar(1)), sigma());
      return accumulate(g, into, plain.mul(g, plain.mul(g, d, up), slope));
    },
    (into) => accumulate(g, into, plain.mul(g, d, act())),
  ]);
}
