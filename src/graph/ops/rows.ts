import type { Graph } from '../graph.ts';
import type { Value } from '../value.ts';
import { accumulate, plain, zerosLike } from './basic.ts';

/** Rows of a table [v, d] by ids [n] → [n, d], as float32. A repeated id adds up in the table's gradient. */
export function embedding(g: Graph, table: Value, ids: Value): Value {
  const shape = [ids.shape[0] ?? '?', table.shape[1] ?? '?'];
  const output = plain.cast(g, g.node('Gather', [table, ids], [table.dtype, shape]), 'float32');
  return g.differentiable([table], output, (d) => [
    (into) => {
      const column = plain.reshape(g, plain.cast(g, ids, 'int64'), [-1, 1], [ids.shape[0] ?? '?', 1]);
      const at = g.node('Expand', [column, g.node('Shape', [d], ['int64', [2]])], ['int64', shape]);
      const onto = into ?? zerosLike(g, table);
      // Not ScatterND: ONNX Runtime's adds with several threads at once and loses repeats of an id; this one is sequential.
      return g.node('ScatterElements', [onto, at, d], ['float32', table.shape], { axis: { int: 0 }, reduction: 'add' });
    },
  ]);
}

/** Some rows of x [n, d], each at most once: index [m] → [m, d]. */
export function takeRows(g: Graph, x: Value, index: Value): Value {
  const output = g.node('Gather', [x, index], [x.dtype, [index.shape[0] ?? '?', ...x.shape.slice(1)]]);
  return g.differentiable([x], output, (d) => [
    (into) => {
      const at = plain.reshape(g, plain.cast(g, index, 'int64'), [-1, 1], [index.shape[0] ?? '?', 1]);
      return accumulate(g, into, g.node('ScatterND', [zerosLike(g, x), at, d], ['float32', x.shape]));
    },
  ]);
}
