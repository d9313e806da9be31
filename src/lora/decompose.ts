import type { Tensor, Tensors } from '../tensor/tensor.ts';
import { getTensor } from '../tensor/tensors.ts';
import { type Adapter, keyOfA, keyOfB, type LoraLayout } from './adapter.ts';
import { type Axis, innerProducts, magnitudeShape, normAxis, type NormAxis, walk } from './axis.ts';
import { requireFactors } from './check.ts';
import { normalise } from './normalise.ts';

export type { Axis, NormAxis, Renormalise } from './axis.ts';

/** A matrix X as M·D: magnitude [1, columns] or [rows, 1], direction of X's shape with unit vectors. */
export interface Decomposition {
  readonly magnitude: Tensor;
  readonly direction: Tensor;
}

/** M = ‖X‖₂ over the axis, D = X/M. A zero vector has M = 0 and a zero direction. (METHOD.md; golden decomposed.json) */
export function decompose(x: Tensor, over: NormAxis): Decomposition {
  const by = walk(x, over);
  const norms = innerProducts(x.data, x.data, by).map(Math.sqrt);
  const direction = new Float32Array(x.data.length);
  for (let r = 0, i = 0; r < by.rows; r++) {
    for (let c = 0, v = r * by.perRow; c < by.columns; c++, i++, v += by.perColumn) {
      // A float32 that is not 0 has a norm that is not 0 in float64.
      direction[i] = norms[v] === 0 ? 0 : x.data[i]! / norms[v]!;
    }
  }
  return {
    magnitude: { shape: magnitudeShape([by.rows, by.columns], over), data: Float32Array.from(norms) },
    direction: { shape: x.shape, data: direction },
  };
}

/** X = M·D; the magnitude's shape says over which axis. Throws where the shapes do not belong together. */
export function recompose({ magnitude, direction }: Decomposition): Tensor {
  const by = walk(direction, magnitude.shape[0] === 1 && direction.shape[1] === magnitude.shape[1] ? 0 : 1);
  const [rows, columns] = magnitudeShape([by.rows, by.columns], by.perColumn === 1 ? 0 : 1);
  if (magnitude.shape.length !== 2 || magnitude.shape[0] !== rows || magnitude.shape[1] !== columns) {
    const shapes = `[${magnitude.shape.join(', ')}] and directions of shape [${direction.shape.join(', ')}]`;
    throw new Error(`magnitudes of shape ${shapes} do not belong together`);
  }
  const out = new Float32Array(direction.data.length);
  for (let r = 0, i = 0; r < by.rows; r++) {
    for (let c = 0, v = r * by.perRow; c < by.columns; c++, i++, v += by.perColumn) {
      out[i] = magnitude.data[v]! * direction.data[i]!;
    }
  }
  return { shape: direction.shape, data: out };
}

export const magnitudeKey = (factor: string): string => `${factor}.magnitude`;
export const directionKey = (factor: string): string => `${factor}.direction`;

/** Each factor's axis, by factor key, in the layout's order. */
const factorAxes = (layout: LoraLayout, axis: Axis): (readonly [string, NormAxis])[] =>
  layout.modules.flatMap(({ name }) => [
    [keyOfA(name), normAxis('A', axis)] as const,
    [keyOfB(name), normAxis('B', axis)] as const,
  ]);

/** The four components of every module, under `magnitudeKey` and `directionKey` of the factor keys. */
export function decomposeAdapter(adapter: Adapter, axis: Axis): Tensors {
  requireFactors(adapter);
  const components = new Map<string, Tensor>();
  for (const [key, over] of factorAxes(adapter.layout, axis)) {
    const { magnitude, direction } = decompose(getTensor(adapter.factors, key), over);
    components.set(magnitudeKey(key), magnitude);
    components.set(directionKey(key), direction);
  }
  return components;
}

/**
 * The components with every direction through n(·), e.g. after averaging: a mean of unit vectors is shorter than 1.
 * Directions that cancelled take those of `previous` (components too), or zero without it. Magnitudes stay.
 */
export function normaliseDirections(layout: LoraLayout, components: Tensors, axis: Axis, previous?: Tensors): Tensors {
  const out = new Map(components);
  for (const [key, over] of factorAxes(layout, axis)) {
    const name = directionKey(key);
    const before = previous && getTensor(previous, name);
    out.set(name, normalise(getTensor(components, name), over, before));
  }
  return out;
}

/** A = A_M·A_D and B = B_M·B_D for every module of the layout. Throws where a component is missing or does not fit. */
export function recomposeAdapter(layout: LoraLayout, components: Tensors): Adapter {
  const factors = new Map<string, Tensor>();
  for (const { name } of layout.modules) {
    for (const key of [keyOfA(name), keyOfB(name)]) {
      const magnitude = getTensor(components, magnitudeKey(key));
      factors.set(key, recompose({ magnitude, direction: getTensor(components, directionKey(key)) }));
    }
  }
  const adapter = { layout, factors };
  requireFactors(adapter, 'the recomposed adapter');
  return adapter;
}
