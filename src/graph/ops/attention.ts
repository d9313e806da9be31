import { type Graph } from '../graph.ts';
import type { Dim, Value } from '../value.ts';
import { accumulate, once, plain } from './basic.ts';

export interface Heads {
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
}

/** Where the tokens of a packed batch stand in the padded form in which attention sees them. */
export interface PaddedForm extends Heads {
  /** int32 [rows, kv, group·length]: for each padded query, which of the n·heads packed ones (any at padding). */
  readonly padQueries: Value;
  /** int32 [rows, kv, length]: likewise for the n·kv packed keys and values. */
  readonly padKeys: Value;
  /** int32 [n, heads]: where each packed query lies in the padded form. */
  readonly unpadQueries: Value;
  /** int32 [n, kv]: likewise for keys; only gradients need it. */
  readonly unpadKeys: () => Value;
  /** int64 [n·heads, 1]: `unpadQueries` for ScatterND; only gradients need it. */
  readonly scatterQueries: () => Value;
  /** float32 [rows or 1, 1, 1, length, keys]: 0 where a query sees a key, very negative where not. */
  readonly mask: Value;
  /** int64 [5]: rows, kv, group, length, keys. */
  readonly scoreShape: Value;
  /** int64 [4] each: rows, kv, group·length, then headDim or 1. */
  readonly queryShape: Value;
  readonly sumShape: Value;
}

/** Declares the graph's inputs of a padded form; `batchIndices` on the host makes what they are fed. */
export function paddedForm(g: Graph, heads: Heads): PaddedForm {
  const kv = heads.kvHeads;
  const padQueries = g.input('padQueries', 'int32', ['rows', kv, 'queries']);
  const shape = g.node('Shape', [padQueries], ['int64', [3]]);
  const withLast = (last: number): Value =>
    g.node('Concat', [shape, g.int64(last)], ['int64', [4]], { axis: { int: 0 } });
  return {
    ...heads,
    padQueries,
    padKeys: g.input('padKeys', 'int32', ['rows', kv, 'length']),
    unpadQueries: g.input('unpadQueries', 'int32', ['n', heads.heads]),
    unpadKeys: once(() => g.input('unpadKeys', 'int32', ['n', kv])),
    scatterQueries: once(() => g.input('scatterQueries', 'int64', ['nHeads', 1])),
    mask: g.input('mask', 'float32', ['maskRows', 1, 1, 'length', 'keys']),
    scoreShape: g.input('scoreShape', 'int64', [5]),
    queryShape: withLast(heads.headDim),
    sumShape: withLast(1),
  };
}

const byHead = (g: Graph, x: Value, width: number): Value => plain.reshape(g, x, [-1, width], ['?', width]);

/** Packed [n, heads·headDim] → padded [rows, kv, …, headDim]. */
export const pad = (g: Graph, x: Value, index: Value, headDim: number): Value =>
  g.node('Gather', [byHead(g, x, headDim), index], ['float32', [...index.shape, headDim]]);

/** Padded → packed. */
export function unpad(g: Graph, x: Value, index: Value, headDim: number): Value {
  const [n, count] = index.shape as [Dim, number];
  const rows = g.node('Gather', [byHead(g, x, headDim), index], ['float32', [n, count, headDim]]);
  return plain.reshape(g, rows, [0, -1], [n, count * headDim]);
}

function product(g: Graph, a: Value, b: Value, trans: 'transA' | 'transB' | undefined, shape: readonly Dim[]): Value {
  return g.node('FusedMatMul', [a, b], ['float32', shape], trans ? { [trans]: { int: 1 } } : {}, 'com.microsoft');
}

/**
 * Softmax attention in the padded form: Q [rows, kv, group·length, dh] (already scaled), K and V [rows, kv, keys, dh] → the weighted
 * values and their weights. Keys and values are never repeated: a group's queries lie one after the other, as rows against their
 * one key head.
 */
export function attend(g: Graph, Q: Value, K: Value, V: Value, form: PaddedForm): { sums: Value; weights: Value } {
  const { heads, kvHeads } = form;
  const shape: readonly Dim[] = ['rows', kvHeads, 'queries', 'keys'];
  const S = product(g, Q, K, 'transB', shape);
  const S5 = g.node('Reshape', [S, form.scoreShape], ['float32', ['rows', kvHeads, heads / kvHeads, 'length', 'keys']]);
  const P5 = g.node('Softmax', [plain.add(g, S5, form.mask)], ['float32', S5.shape], { axis: { int: -1 } });
  const weights = g.node('Reshape', [P5, g.node('Shape', [S], ['int64', [4]])], ['float32', shape]);
  return { sums: product(g, weights, V, undefined, Q.shape), weights };
}

/**
 * Causal grouped-query attention on packed tokens: q [n, heads·dh] (already scaled by 1/√dh), k and v [n, kv·dh] → [n, heads·dh].
 * Padding is to the right, so the causal mask keeps it from every real query; gradients at padded queries are zero.
 * Softmax gradient: p∘(dp − Σ dp∘p), the sum taken as Σ dy∘y over a head (Dao et al. 2022, FlashAttention, appendix B).
 */
export function attention(g: Graph, q: Value, k: Value, v: Value, form: PaddedForm): Value {
  const { kvHeads, headDim } = form;
  const Q = pad(g, q, form.padQueries, headDim);
  const K = pad(g, k, form.padKeys, headDim);
  const V = pad(g, v, form.padKeys, headDim);
  const { sums, weights: P } = attend(g, Q, K, V, form);
  const y = unpad(g, sums, form.unpadQueries, headDim);

  /** Into the padded form with zeros at padding. */
  const scatter = (x: Value, shape: Value, width: number): Value => {
    const zeros = g.node('ConstantOfShape', [shape], ['float32', ['?']]);
    const flat = g.node('Reshape', [zeros, g.int64(-1, width)], ['float32', ['?', width]]);
    const inputs = [flat, form.scatterQueries(), byHead(g, x, width)];
    const filled = g.node('ScatterND', inputs, ['float32', ['?', width]]);
    return g.node('Reshape', [filled, shape], ['float32', ['rows', kvHeads, 'queries', width]]);
  };
  return g.differentiable([q, k, v], y, (dy) => {
    const dO = once(() => scatter(dy, form.queryShape, headDim));
    const dS = once(() => {
      const D = scatter(plain.sumLast(g, byHead(g, plain.mul(g, dy, y), headDim)), form.sumShape, 1);
      return plain.mul(g, plain.sub(g, product(g, dO(), V, 'transB', P.shape), D), P);
    });
    return [
      (into) => accumulate(g, into, unpad(g, product(g, dS(), K, undefined, Q.shape), form.unpadQueries, headDim)),
      (into) => accumulate(g, into, unpad(g, product(g, dS(), Q, 'transA', K.shape), form.unpadKeys(), headDim)),
      (into) => accumulate(g, into, unpad(g, product(g, P, dO(), 'transA', V.shape), form.unpadKeys(), headDim)),
    ];
  });
}
