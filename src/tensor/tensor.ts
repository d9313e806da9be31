/** A dense float32 array in row-major order; `data.length` is the product of `shape`. Treated as immutable once built. */
export interface Tensor {
  readonly shape: readonly number[];
  readonly data: Float32Array;
}

/** Tensors by name. A Map, so that a name from a hostile file is never a property name. */
export type Tensors = ReadonlyMap<string, Tensor>;
