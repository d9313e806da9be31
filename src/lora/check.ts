import { type Adapter, keyOfA, keyOfB, type LoraLayout } from './adapter.ts';
import type { Tensor, Tensors } from '../tensor/tensor.ts';

/** The shape that a layout gives to each factor, by factor key, in the layout's order: A [rank, in], B [out, rank]. */
function factorShapes(layout: LoraLayout): ReadonlyMap<string, readonly [number, number]> {
  const shapes = new Map<string, readonly [number, number]>();
  for (const { name, rank, inFeatures, outFeatures } of layout.modules) {
    shapes.set(keyOfA(name), [rank, inFeatures]);
    shapes.set(keyOfB(name), [outFeatures, rank]);
  }
  return shapes;
}

/** Throws, saying which and how, where factors are missing, have another shape than the layout's, or are none of its. */
export function requireFactors({ layout, factors }: Adapter, what = 'the adapter'): void {
  const shapes = factorShapes(layout);
  for (const [key, [rows, columns]] of shapes) {
    const factor = factors.get(key);
    if (factor === undefined) throw new Error(`${what} lacks the factor ${key}`);
    if (factor.shape.length !== 2 || factor.shape[0] !== rows || factor.shape[1] !== columns) {
      throw new Error(
        `${what} has ${key} of shape [${factor.shape.join(', ')}]; its layout asks for [${rows}, ${columns}]`,
      );
    }
  }
  for (const key of factors.keys()) if (!shapes.has(key)) throw new Error(`${what} has ${key}, which its layout lacks`);
}

/** The adapter's factors in the layout's order, those of `moved` in place of its own. */
export function withMoved({ layout, factors }: Adapter, moved: Tensors): Tensors {
  const out = new Map<string, Tensor>();
  for (const key of factorShapes(layout).keys()) out.set(key, moved.get(key) ?? factors.get(key)!);
  return out;
}
