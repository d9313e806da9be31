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
  /** int32 [n, heads]: where each packed query lies in the padded form; int64 [n·heads, 1]: the same for ScatterND. */
  readonly unpadQueries: Value;
  readonly scatterQueries: Value;
  /** int32 [n, kv]. */
  readonly unpadKeys: Value;
  /** float32 [length, length]: 0 where a query (row) sees a key, very negative where not. */
  readonly mask: Value;
  /** int64 shapes: [rows, kv, group, length, length], [rows, kv, group·length, headDim] and [rows, kv, group·length, 1]. */
  readonly scoreShape: Value;
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
    scatterQueries: g.input('scatterQueries', 'int64', ['nHeads', 1]),
    unpadKeys: g.input('unpadKeys', 'int32', ['n', kv]),
    mask: g.input('mask', 'float32', ['length', 'length']),
    scoreShape: g.input('scoreShape', 'int64', [5]),
    queryShape: withLast(heads.headDim),
    sumShape: withLast(1),
  };
}

/**
 * Causal grouped-query attention on packed tokens: q [n, heads·dh] (already scaled by 1/√dh), k and v [n, kv·dh] → [n, heads·dh].
 * Keys and values are never repeated: the queries of a group lie one after the other, as rows against their one key head.
 * Padding is to the right, so the causal mask keeps it from every real query; gradients at padded queries are zero.
 * Softmax gradient: p∘(dp − Σ dp∘p), the sum taken as Σ dy∘y over a head (Dao et al. 2022, FlashAttention, appendix B).
 */
export function attention(g: Graph, q: Value, k: Value, v: Value, form: PaddedForm): Value {
  const { heads, kvHeads, headDim } = form;
  const n = q.shape[0] ?? '?';
  const scores: readonly Dim[] = ['rows', kvHeads, 'queries', 'length'];

  const byHead = (x: Value, width = headDim): Value => plain.reshape(g, x, [-1, width], ['?', width]);
  const pad = (x: Value, index: Value): Value =>
    g.node('Gather', [byHead(x), index], ['float32', [...index.shape, headDim]]);
  const unpad = (x: Value, index: Value, count: number): Value => {
    const rows = g.node('Gather', [byHead(x), index], ['float32', [n, count, headDim]]);
    return plain.reshape(g, rows, [0, -1], [n, count * headDim]);
  };
  /** Into the padded form with zeros at padding. */
  const scatter = (x: Value, shape: Value, width: number): Value => {
    const flat = g.node(
      'Reshape',
      [g.node('ConstantOfShape', [shape], ['float32', ['?']]), g.int64(-1, width)],
      ['float32', ['?', width]],
    );
    const filled = g.node('ScatterND', [flat, form.scatterQueries, byHead(x, width)], ['float32', ['?', width]]);
    return g.node('Reshape', [filled, shape], ['float32', ['rows', kvHeads, 'queries', width]]);
  };
  const product = (a: Value, b: Value, trans: 'transA' | 'transB' | undefined, shape: readonly Dim[]): Value =>
    g.node('FusedMatMul', [a, b], ['float32', shape], trans ? { [trans]: { int: 1 } } : {}, 'com.microsoft');

  const Q = pad(q, form.padQueries);
  const K = pad(k, form.padKeys);
  const V = pad(v, form.padKeys);
  const S = product(Q, K, 'transB', scores);
  const S5 = g.node(
    'Reshape',
    [S, form.scoreShape],
    ['float32', ['rows', kvHeads, heads / kvHeads, 'length', 'length']],
  );
  const P5 = g.node('Softmax', [plain.add(g, S5, form.mask)], ['float32', S5.shape], { axis: { int: -1 } });
  const P = g.node('Reshape', [P5, g.node('Shape', [S], ['int64', [4]])], ['float32', scores]);
  const y = unpad(product(P, V, undefined, Q.shape), form.unpadQueries, heads);

  return g.differentiable([q, k, v], y, (dy) => {
    const dO = once(() => scatter(dy, form.queryShape, headDim));
    const dS = once(() => {
      const sums = plain.sumLast(g, byHead(plain.mul(g, dy, y)));
      const D = scatter(sums, form.sumShape, 1);
      return plain.mul(g, plain.sub(g, product(dO(), V, 'transB', scores), D), P);
    });
    return [
      (into) => accumulate(g, into, unpad(product(dS(), K, undefined, Q.shape), form.unpadQueries, heads)),
      (into) => accumulate(g, into, unpad(product(dS(), Q, 'transA', K.shape), form.unpadKeys, kvHeads)),
      (into) => accumulate(g, into, unpad(product(P, dO(), 'transA', V.shape), form.unpadKeys, kvHeads)),
    ];
  });
}
