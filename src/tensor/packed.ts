import type { Tensors } from './tensor.ts';
import type { Shapes } from './tensors.ts';

/** A tensor as it travels: what it is called, of which type and shape. */
export interface PackedPlan {
  readonly name: string;
  /** As safetensors names its types. */
  readonly dtype: 'F32' | 'I8' | 'U8';
  readonly shape: readonly number[];
}

/** Its type, shape and little-endian bytes. */
export type PackedTensor = Omit<PackedPlan, 'name'> & { readonly bytes: Uint8Array };

/** Tensors in another form than float32 by float32, by name. */
export type Packed = ReadonlyMap<string, PackedTensor>;

/** A shorter form in which updates travel. What is in it depends on names and shapes only, so its size tells nothing of a client. */
export interface Packing {
  /** What an update of these names and shapes becomes. */
  plan(like: Shapes): readonly PackedPlan[];
  /** The update that was packed, bit for bit; `packed` is as planned. Throws `Error`, in words, where the bytes make no sense. */
  unpack(packed: Packed, like: Shapes): Tensors;
}

/** Bytes of one tensor. */
export const packedBytes = ({ dtype, shape }: PackedPlan): number =>
  shape.reduce((size, n) => size * n, dtype === 'F32' ? 4 : 1);

/** Where it is not as planned, the first difference in words. */
export function unlike(plan: readonly PackedPlan[], packed: Packed): string | undefined {
  const show = ({ dtype, shape }: Omit<PackedPlan, 'name'>): string => `${dtype} [${shape.join(', ')}]`;
  for (const wanted of plan) {
    const found = packed.get(wanted.name);
    if (found === undefined) return `tensor “${wanted.name}” is missing`;
    if (show(found) !== show(wanted)) return `tensor “${wanted.name}” is ${show(found)}, not ${show(wanted)}`;
  }
  const names = new Set(plan.map(({ name }) => name));
  const more = [...packed.keys()].find((name) => !names.has(name));
  return more === undefined ? undefined : `tensor “${more}” is none of it`;
}
