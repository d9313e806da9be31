import type { Tensor, Tensors } from '../tensor/tensor.ts';
import { getTensor } from '../tensor/tensors.ts';
import { type Adapter, type AdapterMix, keyOfA, keyOfB, type LoraModule } from './adapter.ts';
import { requireFactors } from './check.ts';
import { gateTensors, isGated, partsTensors } from './gate.ts';
import { isByPrompt, likenessTensors } from './likeness.ts';

/**
 * One adapter with the mix's exact sum of products, Σ weight·scale·B·A, by concatenating in rank: rows of A, columns of B.
 * The scale of each module is the first adapter's, as the engine's layout fixes it; weights and other scales are folded into B.
 * Parts of weight 0 are left out. All adapters need the same modules.
 */
export function stackAdapter(mix: AdapterMix): Adapter {
  const [first] = mix;
  if (first === undefined) throw new Error('a mix needs at least one adapter');
  if (isGated(mix)) throw new Error('a mix that is weighed token by token is no single adapter');
  if (isByPrompt(mix)) throw new Error('a mix that is weighed prompt by prompt is no single adapter');
  for (const { adapter, weight } of mix) {
    if (!Number.isFinite(weight)) throw new Error(`a mix needs finite weights, not ${weight}`);
    requireSameModules(first.adapter, adapter);
    requireFactors(adapter);
  }
  if (mix.length === 1 && first.weight === 1) return first.adapter;
  const weighted = mix.filter(({ weight }) => weight !== 0);
  const parts = weighted.length > 0 ? weighted : [first];
  const modules: LoraModule[] = [];
  const factors = new Map<string, Tensor>();
  for (const [m, module] of first.adapter.layout.modules.entries()) {
    const { name, scale } = module;
    const pieces = parts.map(({ adapter, weight }) => ({
      a: getTensor(adapter.factors, keyOfA(name)),
      b: getTensor(adapter.factors, keyOfB(name)),
      factor: (weight * adapter.layout.modules[m]!.scale) / scale,
    }));
    const a = stackRows(pieces.map((piece) => piece.a));
    const rank = a.shape[0]!;
    factors.set(keyOfA(name), a);
    factors.set(keyOfB(name), stackColumns(pieces, rank));
    // The alpha that keeps the scale at the new rank.
    const alpha = module.alpha * (first.adapter.layout.rslora ? Math.sqrt(rank / module.rank) : rank / module.rank);
    modules.push({ ...module, rank, alpha });
  }
  return { layout: { modules, rslora: first.adapter.layout.rslora }, factors };
}

/**
 * What an engine opened with the first adapter's layout is given: the factors of `stackAdapter`; with them the gates of a mix that is
 * weighed token by token, or what a mix is weighed by prompt by prompt.
 */
export function stack(mix: AdapterMix): Tensors {
  if (isByPrompt(mix)) {
    const whole = stackAdapter(mix.map(({ adapter }) => ({ adapter, weight: 1 })));
    return new Map([...whole.factors, ...likenessTensors(mix)]);
  }
  if (!isGated(mix)) return stackAdapter(mix).factors;
  if (mix.some(({ weight }) => weight === 0)) throw new Error('a gated part of a mix needs a weight other than 0');
  const { factors } = stackAdapter(mix.map(({ adapter, weight }) => ({ adapter, weight })));
  return new Map([...factors, ...gateTensors(mix), ...partsTensors(mix)]);
}

const show = (module: LoraModule | undefined): string =>
  module === undefined ? 'none' : `${module.name} [${module.outFeatures}, ${module.inFeatures}]`;

function requireSameModules(a: Adapter, b: Adapter): void {
  const [x, y] = [a.layout.modules, b.layout.modules];
  const at = x.findIndex((module, i) => {
    const other = y[i];
    return (
      other === undefined ||
      module.name !== other.name ||
      module.inFeatures !== other.inFeatures ||
      module.outFeatures !== other.outFeatures
    );
  });
  if (at === -1 && x.length === y.length) return;
  const i = at === -1 ? x.length : at;
  throw new Error(
    `adapters of a mix need the same modules: module ${i + 1} is ${show(x[i])} in one and ${show(y[i])} in another`,
  );
}

function stackRows(parts: readonly Tensor[]): Tensor {
  const columns = parts[0]!.shape[1]!;
  const rows = parts.reduce((sum, { shape }) => sum + shape[0]!, 0);
  const data = new Float32Array(rows * columns);
  let at = 0;
  for (const part of parts) {
    data.set(part.data, at);
    at += part.data.length;
  }
  return { shape: [rows, columns], data };
}

function stackColumns(parts: readonly { readonly b: Tensor; readonly factor: number }[], columns: number): Tensor {
  const rows = parts[0]!.b.shape[0]!;
  const data = new Float32Array(rows * columns);
  let first = 0;
  for (const { b, factor } of parts) {
    const width = b.shape[1]!;
    for (let r = 0; r < rows; r++) {
      for (let c = 0; c < width; c++) data[r * columns + first + c] = factor * b.data[r * width + c]!;
    }
    first += width;
  }
  return { shape: [rows, columns], data };
}
