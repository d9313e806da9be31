import type { Tensor } from '../tensor/tensor.ts';
import { type Adapter, keyOfA, keyOfB, type LoraLayout, type LoraModule } from './adapter.ts';
import { identity } from '../tensor/matrices.ts';

/** Whether every module's rank is at most its smaller side: above that, factors hold more numbers than the product does. */
export const isThin = ({ modules }: LoraLayout): boolean =>
  modules.every(({ rank, inFeatures, outFeatures }) => rank <= Math.min(inFeatures, outFeatures));

/** An adapter with these products ΔW [out, in] by module, scale included: an identity beside ΔW/scale, of the smaller side's rank. */
export function denseAdapter({ modules, rslora }: LoraLayout, deltas: ReadonlyMap<string, Tensor>): Adapter {
  const factors = new Map<string, Tensor>();
  const at = modules.map((module): LoraModule => {
    const { name, scale, inFeatures, outFeatures } = module;
    const { shape, data } = deltas.get(name)!;
    const unscaled: Tensor = { shape, data: data.map((x) => x / scale) };
    const rank = Math.min(inFeatures, outFeatures);
    factors.set(keyOfA(name), rank === inFeatures ? identity(rank) : unscaled);
    factors.set(keyOfB(name), rank === inFeatures ? unscaled : identity(rank));
    return { ...module, rank, alpha: scale * (rslora ? Math.sqrt(rank) : rank) };
  });
  return { layout: { modules: at, rslora }, factors };
}
