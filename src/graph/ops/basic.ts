import type { Graph } from '../graph.ts';
import { sameShape, type Dim, type DType, type Value } from '../value.ts';

/** x + y of one shape. */
export function add(g: Graph, x: Value, y: Value): Value {
  const sum = plain.add(g, x, y);
  return g.differentiable([x, y], sum, (d) => [(into) => accumulate(g, into, d), (into) => accumulate(g, into, d)]);
}

/** x ∘ y of one shape. */
export function mul(g: Graph, x: Value, y: Value): Value {
  return g.differentiable([x, y], plain.mul(g, x, y), (d) => [
    (into) => accumulate(g, into, plain.mul(g, d, y)),
    (into) => accumulate(g, into, plain.mul(g, d, x)),
  ]);
}

/** The gradient gathered so far plus one more part of it. */
export const accumulate = (g: Graph, into: Value | undefined, part: Value): Value =>
  into === undefined ? part : plain.add(g, into, part);

const shapeOf = (g: Graph, x: Value): Value => g.node('Shape', [x], ['int64', [x.shape.length]]);

export const zerosLike = (g: Graph, x: Value): Value =>
  g.node('ConstantOfShape', [shapeOf(g, x)], ['float32', x.shape]);

/** Each call after the first returns the first one's result: a node shared by several gradients is emitted once, if at all. */
export function once<T>(make: () => T): () => T {
  let made: { readonly value: T } | undefined;
  return () => (made ??= { value: make() }).value;
}

/** ONNX nodes without gradients, with ONNX's broadcasting where one operand's shape is the result's. */
export const plain = {
  add: (g: Graph, x: Value, y: Value): Value => g.node('Add', [x, y], [x.dtype, wider(x, y)]),
  sub: (g: Graph, x: Value, y: Value): Value => g.node('Sub', [x, y], [x.dtype, wider(x, y)]),
  mul: (g: Graph, x: Value, y: Value): Value => g.node('Mul', [x, y], [x.dtype, wider(x, y)]),
  cast: (g: Graph, x: Value, dtype: DType): Value =>
    x.dtype === dtype
      ? x
      : g.node('Cast', [x], [dtype, x.shape], {
          to: { int: { float32: 1, int32: 6, int64: 7, bool: 9, float16: 10, bfloat16: 16 }[dtype] },
        }),
  reshape: (g: Graph, x: Value, to: readonly number[], shape: readonly Dim[]): Value =>
    g.node('Reshape', [x, g.int64(...to)], [x.dtype, shape]),
  /** Sum over the last axis, kept as 1. */
  sumLast: (g: Graph, x: Value): Value =>
    g.node('ReduceSum', [x, g.int64(-1)], [x.dtype, [...x.shape.slice(0, -1), 1]]),
  meanLast: (g: Graph, x: Value): Value =>
    g.node('ReduceMean', [x, g.int64(-1)], [x.dtype, [...x.shape.slice(0, -1), 1]]),
};

function wider(x: Value, y: Value): readonly Dim[] {
  if (sameShape(x, y)) return x.shape;
  if (y.shape.length < x.shape.length) return x.shape;
  if (x.shape.length < y.shape.length) return y.shape;
  return x.shape.map((dim, i) => (dim === 1 ? (y.shape[i] as Dim) : dim));
}
