import { Graph } from '../graph/graph.ts';
import { plain } from '../graph/ops/basic.ts';
import type { Dim, Value } from '../graph/value.ts';
import type { LoraLayout } from '../lora/adapter.ts';
import { frozenParts, placesInputs, type WeightTypes } from './compile.ts';
import type { LlamaConfig } from './config.ts';
import { llama, type Attend } from './llama.ts';

/** Names of a layer's cache: fed as `past …`, fetched as `present …`, each [kvHeads, tokens, headDim]. */
export const cacheNames = (layers: number): string[] =>
  Array.from({ length: layers }, (_, layer) => [`k ${layer}`, `v ${layer}`]).flat();

/** Attention of t new tokens of one sequence to the cached ones before them and to each other. */
function attendCached(g: Graph, { heads, kvHeads, headDim }: LlamaConfig): Attend {
  const mask = g.input('mask', 'float32', ['n', 'total']);
  const scoreShape = g.input('scoreShape', 'int64', [4]);
  const split = (x: Value, count: number): Value => {
    const byHead = plain.reshape(g, x, [0, count, headDim], ['n', count, headDim]);
    return g.node('Transpose', [byHead], ['float32', [count, 'n', headDim]], { perm: [1, 0, 2] });
  };
  return (layer, q, k, v) => {
    const cached = (kind: 'k' | 'v', fresh: Value): Value => {
      const past = g.input(`past ${kind} ${layer}`, 'float32', [kvHeads, 'past', headDim]);
      const present = g.node('Concat', [past, split(fresh, kvHeads)], ['float32', [kvHeads, 'total', headDim]], {
        axis: { int: 1 },
      });
      g.output(`present ${kind} ${layer}`, present);
      return present;
    };
    const [K, V] = [cached('k', k), cached('v', v)];
    const Q = plain.reshape(g, split(q, heads), [kvHeads, -1, headDim], [kvHeads, 'queries', headDim]);
    const shape: readonly Dim[] = [kvHeads, 'queries', 'total'];
    const S = g.node('FusedMatMul', [Q, K], ['float32', shape], { transB: { int: 1 } }, 'com.microsoft');
    const S4 = g.node('Reshape', [S, scoreShape], ['float32', [kvHeads, heads / kvHeads, 'n', 'total']]);
    const P4 = g.node('Softmax', [plain.add(g, S4, mask)], ['float32', S4.shape], { axis: { int: -1 } });
    const P = g.node('Reshape', [P4, g.node('Shape', [S], ['int64', [3]])], ['float32', shape]);
    const O = g.node('MatMul', [P, V], ['float32', Q.shape]);
    const byHead = plain.reshape(g, O, [heads, -1, headDim], [heads, 'n', headDim]);
    const back = g.node('Transpose', [byHead], ['float32', ['n', heads, headDim]], { perm: [1, 0, 2] });
    return plain.reshape(g, back, [0, -1], ['n', heads * headDim]);
  };
}

/** One step of generation: n new tokens after a cache → `logits` [1, vocabulary] after the last of them, and the longer cache. */
export function decodeGraph(config: LlamaConfig, types: WeightTypes, layout: LoraLayout): Graph {
  const g = new Graph();
  const parts = frozenParts(g, config, types, layout);
  const ids = g.input('ids', 'int32', ['n']);
  const last = g.input('last', 'int32', [1]);
  const places = placesInputs(g, config);
  g.output('logits', llama(g, parts, ids, places, attendCached(g, config), last));
  return g;
}
