import type { Tensor, Tensors } from '../tensor/tensor.ts';
import { getTensor } from '../tensor/tensors.ts';
import type { AdapterMix, LoraLayout } from './adapter.ts';

/** What a graph is fed beside A and B where a mix is weighed token by token: the mixer's rows [parts, in] … */
export const keyOfGate = (module: string): string => `${module}.gate`;
/** … and which rows of the stacked A belong to which part, [parts, rank] of ones and zeros. */
export const keyOfParts = (module: string): string => `${module}.parts`;

/** Whether a mix is weighed token by token. Throws where only some of its parts have a gate. */
export function isGated(mix: AdapterMix): boolean {
  const gated = mix.filter(({ gate }) => gate !== undefined).length;
  if (gated > 0 && gated < mix.length) throw new Error('either all parts of a mix have a gate, or none');
  return gated > 0;
}

/** Whether these are factors of a mix that is weighed token by token. */
export const hasGates = ({ modules }: LoraLayout, factors: Tensors): boolean =>
  modules.length > 0 && factors.has(keyOfGate(modules[0]!.name));

/** The mixer of each module of a gated mix, [parts, in]. */
export function gateTensors(mix: AdapterMix): Tensors {
  const out = new Map<string, Tensor>();
  for (const { name, inFeatures } of mix[0]!.adapter.layout.modules) {
    const data = new Float32Array(mix.length * inFeatures);
    for (const [p, { gate }] of mix.entries()) data.set(rowOf(gate!, name, inFeatures), p * inFeatures);
    out.set(keyOfGate(name), { shape: [mix.length, inFeatures], data });
  }
  return out;
}

/** The places of the parts in a stack of them, by module. */
export function partsTensors(mix: AdapterMix): Tensors {
  const out = new Map<string, Tensor>();
  for (const [m, { name }] of mix[0]!.adapter.layout.modules.entries()) {
    const ranks = mix.map(({ adapter }) => adapter.layout.modules[m]!.rank);
    const rank = ranks.reduce((sum, r) => sum + r, 0);
    const data = new Float32Array(mix.length * rank);
    let first = 0;
    for (const [p, own] of ranks.entries()) {
      data.fill(1, p * rank + first, p * rank + first + own);
      first += own;
    }
    out.set(keyOfParts(name), { shape: [mix.length, rank], data });
  }
  return out;
}

function rowOf(gate: Tensors, module: string, inFeatures: number): Float32Array {
  const { shape, data } = getTensor(gate, keyOfGate(module));
  if (shape.join() !== `1,${inFeatures}`)
    throw new Error(`the gate of ${module} is [${shape.join(', ')}]; a part of a mix needs [1, ${inFeatures}]`);
  return data;
}
