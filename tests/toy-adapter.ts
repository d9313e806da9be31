import { type Adapter, keyOfA, keyOfB, type LoraLayout } from '../src/lora/adapter.ts';
import { stream } from '../src/tensor/random.ts';
import type { Tensor, Tensors } from '../src/tensor/tensor.ts';
import { tensor } from '../src/tensor/tensors.ts';

/** A matrix from rows. */
export const matrix = (rows: readonly (readonly number[])[]): Tensor =>
  tensor([rows.length, rows[0]?.length ?? 0], rows.flat());

/** A layout of one or more modules `m0`, `m1`, … of the same shape. */
export function toyLayout({ modules = 1, rank = 2, inFeatures = 5, outFeatures = 6, alpha = 4 } = {}): LoraLayout {
  return {
    rslora: false,
    modules: Array.from({ length: modules }, (_, i) => ({
      name: `m${i}`,
      inFeatures,
      outFeatures,
      rank,
      alpha,
      scale: alpha / rank,
    })),
  };
}

/** Normally distributed A and B for a layout. */
export function randomFactors(layout: LoraLayout, seed: number): Tensors {
  const random = stream(seed, 'toy');
  const draw = (rows: number, columns: number): Tensor =>
    tensor(
      [rows, columns],
      Float32Array.from({ length: rows * columns }, () => random.normal()),
    );
  return new Map(
    layout.modules.flatMap(({ name, rank, inFeatures, outFeatures }) => [
      [keyOfA(name), draw(rank, inFeatures)],
      [keyOfB(name), draw(outFeatures, rank)],
    ]),
  );
}

export const toyAdapter = (layout: LoraLayout, seed: number): Adapter => ({
  layout,
  factors: randomFactors(layout, seed),
});

/** The largest absolute difference of two tensors of one shape. */
export function distance(a: Tensor | undefined, b: Tensor | undefined): number {
  if (!a || !b || a.data.length !== b.data.length) return Infinity;
  return a.data.reduce((largest, x, i) => Math.max(largest, Math.abs(x - b.data[i]!)), 0);
}
