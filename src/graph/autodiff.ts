import type { Graph } from './graph.ts';
import type { Value } from './value.ts';

/**
 * Reverse mode over the graph's tape: the gradients of the scalar `loss` with respect to `wanted`, in that order.
 * Emits only nodes on a path from `loss` to a wanted value; nothing for inputs that nobody asked about.
 * Throws if the loss does not depend on a wanted value.
 */
export function gradients(graph: Graph, loss: Value, wanted: readonly Value[]): Value[] {
  const depends = new Set<Value>(wanted);
  const tape = [...graph.tape];
  for (const { inputs, output } of tape) if (inputs.some((input) => depends.has(input))) depends.add(output);

  const gradient = new Map<Value, Value>([[loss, graph.scalar(1)]]);
  for (const { inputs, output, pullback } of tape.reverse()) {
    const dOutput = gradient.get(output);
    if (dOutput === undefined || !inputs.some((input) => depends.has(input))) continue;
    const pulls = pullback(dOutput);
    for (const [i, input] of inputs.entries()) {
      if (!depends.has(input)) continue;
      const pull = pulls[i];
      if (pull === undefined)
        throw new Error(`no gradient is defined for input ${i} of the op that made ${output.name}`);
      gradient.set(input, pull(gradient.get(input)));
    }
  }
  return wanted.map((value) => {
    const found = gradient.get(value);
    if (found === undefined) throw new Error(`the loss does not depend on ${value.name}`);
    return found;
  });
}
