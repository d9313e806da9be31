import { Graph } from '../graph/graph.ts';
import { attend, pad, unpad } from '../graph/ops/attention.ts';
import type { Value } from '../graph/value.ts';
import type { LoraLayout } from '../lora/adapter.ts';
import { frozenParts, placesInputs, type WeightTypes } from './compile.ts';
import type { LlamaConfig } from './config.ts';
import { head, trunk, type Attend } from './llama.ts';

/** Names of the layers' caches: fed as `past …`, fetched as `present …`, each [rows, kvHeads, keys, headDim]. */
export const cacheNames = (layers: number): string[] =>
  Array.from({ length: layers }, (_, layer) => [`k ${layer}`, `v ${layer}`]).flat();

/** Attention of each row's new tokens to its cached keys and to each other. */
function attendCached(g: Graph, config: LlamaConfig): Attend {
  const { heads, kvHeads, headDim } = config;
  const padQueries = g.input('padQueries 0', 'int32', ['rows', kvHeads, 'queries']);
  const padFresh = g.input('padKeys 0', 'int32', ['rows', kvHeads, 'fresh']);
  const mask = g.input('mask 0', 'float32', ['maskRows', 1, 1, 'fresh', 'keys']);
  const scoreShape = g.input('scoreShape 0', 'int64', [5]);
  const ends = [
    g.node('Shape', [padQueries], ['int64', [3]]),
    g.node('Gather', [scoreShape, g.int64(4)], ['int64', [1]]),
  ];
  const weightShape = g.node('Concat', ends, ['int64', [4]], { axis: { int: 0 } });
  const unpadQueries = g.input('unpadQueries', 'int32', ['n', heads]);
  return (layer, q, k, v) => {
    const cached = (kind: 'k' | 'v', fresh: Value): Value => {
      const past = g.input(`past ${kind} ${layer}`, 'float32', ['rows', kvHeads, 'past', headDim]);
      const both = [past, pad(g, fresh, padFresh, headDim)];
      const present = g.node('Concat', both, ['float32', ['rows', kvHeads, 'keys', headDim]], { axis: { int: 2 } });
      g.output(`present ${kind} ${layer}`, present);
      return present;
    };
    const Q = pad(g, q, padQueries, headDim);
    const { sums } = attend(g, Q, cached('k', k), cached('v', v), { mask, scoreShape, weightShape }, config);
    return unpad(g, sums, unpadQueries, headDim);
  };
}

/**
 * One step of generation for several rows: their new tokens, packed, after their caches → `logits` [rows, vocabulary] after the
 * tokens `last` [rows], and the longer caches.
 */
export function decodeGraph(config: LlamaConfig, types: WeightTypes, layout: LoraLayout, gated = false): Graph {
  const g = new Graph();
  const parts = frozenParts(g, config, types, layout, gated);
  const ids = g.input('ids', 'int32', ['n']);
  const last = g.input('last', 'int32', ['rows']);
  const places = placesInputs(g, config);
  g.output('logits', head(g, parts, trunk(g, parts, ids, places, attendCached(g, config), last)));
  return g;
}
