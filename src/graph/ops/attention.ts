import { type Graph } from '../graph.ts';
import type { Dim, Value } from '../value.ts';
import { accumulate, once, plain } from './basic.ts';

export interface Heads {
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
}

/** Some queries of some rows and the keys that they see, padded to one form: one batched product. */
export interface Block {
  /** int32 [rows, kv, group·length]: for each padded query, which of the n·heads packed ones (any at padding). */
  readonly padQueries: Value;
  /** int32 [rows, kv, keys]: likewise for the n·kv packed keys and values. */
  readonly padKeys: Value;
  /** float32 [rows or 1, 1, 1, length, keys]: 0 where a query sees a key, very negative where not. */
  readonly mask: Value;
  /** int64 [5]: rows, kv, group, length, keys. */
  readonly scoreShape: Value;
  /** int64 [4]: rows, kv, group·length, then keys, headDim or 1. */
  readonly weightShape: Value;
  readonly queryShape: () => Value;
  readonly sumShape: () => Value;
}

/** Declares a block's inputs; `name` tells several apart. */
function blockInputs(g: Graph, { kvHeads: kv, headDim }: Heads, name: string): Block {
  const [rows, queries, length, keys] = ['rows', 'queries', 'length', 'keys'].map((dim) => `${dim}${name}`) as [
    string,
    string,
    string,
    string,
  ];
  const padQueries = g.input(`padQueries${name}`, 'int32', [rows, kv, queries]);
  const scoreShape = g.input(`scoreShape${name}`, 'int64', [5]);
  const start = once(() => g.node('Shape', [padQueries], ['int64', [3]]));
  const shape = (last: Value): Value => g.node('Concat', [start(), last], ['int64', [4]], { axis: { int: 0 } });
  return {
    padQueries,
    padKeys: g.input(`padKeys${name}`, 'int32', [rows, kv, keys]),
    mask: g.input(`mask${name}`, 'float32', [`mask${rows}`, 1, 1, length, keys]),
    scoreShape,
    weightShape: shape(g.node('Gather', [scoreShape, g.int64(4)], ['int64', [1]])),
    queryShape: once(() => shape(g.int64(headDim))),
    sumShape: once(() => shape(g.int64(1))),
  };
}

/** Where the tokens of a packed batch stand in the blocks in which attention sees them; `attentionFeeds` on the host makes what is fed. */
export interface Blocks extends Heads {
  readonly blocks: readonly Block[];
  /** int32 [n, heads]: where each packed query lies in all blocks' queries, one block after the other. */
  readonly unpadQueries: Value;
  /** int64 [n·heads, 1]: the same for ScatterND. The following are for gradients only. */
  readonly scatterQueries: () => Value;
  /** int64 [blocks]: how many queries times heads each block has, and [2]: in all of them, and headDim or 1. */
  readonly blockSizes: () => Value;
  readonly slotsShape: () => Value;
  readonly slotSumsShape: () => Value;
  /** For each block int32 [n, kv]: where each packed key lies in all blocks' keys; where the block lacks it, at the zeros behind the last. */
  readonly unpadKeys: () => readonly Value[];
}

/** Declares the graph's inputs for attention in `count` blocks. */
export function blocksInputs(g: Graph, heads: Heads, count: number): Blocks {
  const names = Array.from({ length: count }, (_, i) => ` ${i}`);
  const slots = once(() => g.input('slots', 'int64', [1]));
  const total = (width: Value): Value => g.node('Concat', [slots(), width], ['int64', [2]], { axis: { int: 0 } });
  return {
    ...heads,
    blocks: names.map((name) => blockInputs(g, heads, name)),
    unpadQueries: g.input('unpadQueries', 'int32', ['n', heads.heads]),
    scatterQueries: once(() => g.input('scatterQueries', 'int64', ['nHeads', 1])),
    blockSizes: once(() => g.input('blockSizes', 'int64', [count])),
    slotsShape: once(() => total(g.int64(heads.headDim))),
    slotSumsShape: once(() => total(g.int64(1))),
    unpadKeys: once(() => names.map((name) => g.input(`unpadKeys${name}`, 'int32', ['n', heads.kvHeads]))),
  };
}

const byHead = (g: Graph, x: Value, width: number): Value => plain.reshape(g, x, [-1, width], ['?', width]);

/** Packed [n, heads·headDim] → padded [rows, kv, …, headDim]. */
export const pad = (g: Graph, x: Value, index: Value, headDim: number): Value =>
  padFlat(g, byHead(g, x, headDim), index);

const padFlat = (g: Graph, flat: Value, index: Value): Value =>
  g.node('Gather', [flat, index], ['float32', [...index.shape, flat.shape[1] ?? '?']]);

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
 * Softmax attention of a block: Q [rows, kv, group·length, dh] (already scaled), K and V [rows, kv, keys, dh] → the weighted values
 * and their weights. Keys and values are never repeated: a group's queries lie one after the other, as rows against their one key head.
 */
export function attend(
  g: Graph,
  Q: Value,
  K: Value,
  V: Value,
  { mask, scoreShape, weightShape }: Pick<Block, 'mask' | 'scoreShape' | 'weightShape'>,
  { heads, kvHeads }: Heads,
): { sums: Value; weights: Value } {
  const [rows, , queries] = Q.shape as [Dim, Dim, Dim];
  const [length, keys] = mask.shape.slice(3) as [Dim, Dim];
  const shape: readonly Dim[] = [rows, kvHeads, queries, keys];
  const S = product(g, Q, K, 'transB', shape);
  const S5 = g.node('Reshape', [S, scoreShape], ['float32', [rows, kvHeads, heads / kvHeads, length, keys]]);
  const P5 = g.node('Softmax', [plain.add(g, S5, mask)], ['float32', S5.shape], { axis: { int: -1 } });
  const weights = g.node('Reshape', [P5, weightShape], ['float32', shape]);
  return { sums: product(g, weights, V, undefined, Q.shape), weights };
}

/** All of these one after the other, as rows of `width`. */
function stacked(g: Graph, parts: readonly Value[], width: number): Value {
  const flat = parts.map((part) => byHead(g, part, width));
  return flat.length === 1
    ? (flat[0] as Value)
    : g.node('Concat', flat, ['float32', ['?', width]], { axis: { int: 0 } });
}

/**
 * Causal grouped-query attention on packed tokens: q [n, heads·dh] (already scaled by 1/√dh), k and v [n, kv·dh] → [n, heads·dh].
 * Cut into blocks of queries that see about as many keys, so that neither short rows nor the masked half of long ones are computed
 * in full. Padding is to the right, so the causal mask keeps it from every real query; gradients at padded queries are zero.
 * Only the flat q, k, v and the weights are kept for the backward pass; padded forms are gathered again.
 * Softmax gradient: p∘(dp − Σ dp∘p), the sum taken as Σ dy∘y over a head (Dao et al. 2022, FlashAttention, appendix B).
 */
export function attention(g: Graph, q: Value, k: Value, v: Value, form: Blocks): Value {
  const { blocks, headDim } = form;
  const [flatQ, flatK, flatV] = [q, k, v].map((x) => byHead(g, x, headDim)) as [Value, Value, Value];
  const queries = (block: Block): Value => padFlat(g, flatQ, block.padQueries);
  const keys = (block: Block): Value => padFlat(g, flatK, block.padKeys);
  const values = (block: Block): Value => padFlat(g, flatV, block.padKeys);
  const seen = blocks.map((block) => attend(g, queries(block), keys(block), values(block), block, form));
  const sums = stacked(
    g,
    seen.map((one) => one.sums),
    headDim,
  );
  const y = unpad(g, sums, form.unpadQueries, headDim);

  /** Packed rows of `width` per head → one padded [rows, kv, group·length, width] per block, zero at padding. */
  const scatter = (x: Value, width: number, whole: Value, shapes: readonly Value[]): Value[] => {
    const zeros = g.node('ConstantOfShape', [whole], ['float32', ['slots', width]]);
    const filled = g.node('ScatterND', [zeros, form.scatterQueries(), x], ['float32', ['slots', width]]);
    const results = blocks.map(() => ['float32', ['?', width]] as const);
    const parts =
      blocks.length === 1 ? [filled] : g.nodes('Split', [filled, form.blockSizes()], results, { axis: { int: 0 } });
    return parts.map((part, i) => {
      const { shape } = (blocks[i] as Block).padQueries;
      return g.node('Reshape', [part, shapes[i]], ['float32', [...shape, width]]);
    });
  };
  /** The gradients that a key gets from every block in which it is. */
  const gathered = (parts: readonly Value[]): Value => {
    const index = form.unpadKeys();
    if (parts.length === 1) return unpad(g, parts[0] as Value, index[0] as Value, headDim);
    const all = stacked(g, [...parts, g.constant(new Float32Array(headDim), [1, headDim])], headDim);
    const found = index.map((at) => unpad(g, all, at, headDim));
    return g.node('Sum', found, ['float32', (found[0] as Value).shape]);
  };
  return g.differentiable([q, k, v], y, (dy) => {
    const dO = once(() =>
      scatter(
        byHead(g, dy, headDim),
        headDim,
        form.slotsShape(),
        blocks.map((block) => block.queryShape()),
      ),
    );
    const dS = once(() => {
      const sum = plain.sumLast(g, byHead(g, plain.mul(g, dy, y), headDim));
      const D = scatter(
        sum,
        1,
        form.slotSumsShape(),
        blocks.map((block) => block.sumShape()),
      );
      return blocks.map((block, i) => {
        const P = (seen[i] as (typeof seen)[number]).weights;
        const dP = product(g, dO()[i] as Value, values(block), 'transB', P.shape);
        return plain.mul(g, plain.sub(g, dP, D[i] as Value), P);
      });
    });
    const each = (f: (block: Block, dSi: Value) => Value): Value[] =>
      blocks.map((block, i) => f(block, dS()[i] as Value));
    return [
      (into) => {
        const parts = each((b, d) => product(g, d, keys(b), undefined, [...b.padQueries.shape, headDim]));
        return accumulate(g, into, unpad(g, stacked(g, parts, headDim), form.unpadQueries, headDim));
      },
      (into) => {
        const parts = each((b, d) => product(g, d, queries(b), 'transA', [...b.padKeys.shape, headDim]));
        return accumulate(g, into, gathered(parts));
      },
      (into) => {
        const parts = seen.map(({ weights }, i) =>
          product(g, weights, dO()[i] as Value, 'transA', [...(blocks[i] as Block).padKeys.shape, headDim]),
        );
        return accumulate(g, into, gathered(parts));
      },
    ];
  });
}
