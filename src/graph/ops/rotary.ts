import type { Graph } from '../graph.ts';
import type { Dim, Value } from '../value.ts';
import { accumulate, plain } from './basic.ts';

/** Tables [positions, headDim/2] of cos and sin of each rotation's angle, and −sin for the way back. */
export interface RotaryTables {
  readonly cos: Value;
  readonly sin: Value;
  readonly minusSin: Value;
}

/**
 * Rotary position embedding (Su et al. 2021) in Hugging Face's half-split order, x [n, heads·headDim], positions int64 [n, 1].
 * A rotation: its gradient is the rotation back.
 */
export function rotary(g: Graph, x: Value, positions: Value, tables: RotaryTables, heads: number): Value {
  const rotate = (value: Value, sin: Value): Value => {
    const [n, width] = value.shape as [Dim, Dim];
    const flat = plain.reshape(g, value, [-1, 1, width as number], [n, 1, width]);
    const turned = g.node(
      'RotaryEmbedding',
      [flat, positions, tables.cos, sin],
      ['float32', flat.shape],
      { num_heads: { int: heads } },
      'com.microsoft',
    );
    return plain.reshape(g, turned, [-1, width as number], value.shape);
  };
  return g.differentiable([x], rotate(x, tables.sin), (d) => [
    (into) => accumulate(g, into, rotate(d, tables.minusSin)),
  ]);
}
