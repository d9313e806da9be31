import type { Tensors } from '../../src/tensor/tensor.ts';

/** ⟨a, b⟩ over all tensors, in float64. */
export function dot(a: Tensors, b: Tensors): number {
  let total = 0;
  for (const [name, { data: x }] of a) {
    const y = b.get(name)!.data;
    let sum = 0;
    for (let i = 0; i < x.length; i++) sum += x[i]! * y[i]!;
    total += sum;
  }
  return total;
}
