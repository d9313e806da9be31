import type { Tensor, Tensors } from '../tensor/tensor.ts';
import { countNumbers, mapTensors, requireSameShapes } from '../tensor/tensors.ts';
import { clip } from './clip.ts';
import { fromInt8, toInt8 } from './int8.ts';
import { fromTopK, topK } from './top-k.ts';

/** A lossy way of sending tensors, as what arrives. */
export type Compressor = (tensors: Tensors) => Tensors;

/** int8 per row with stochastic rounding, unbiased; `uniform` draws from [0, 1). */
export const int8 =
  (uniform: () => number): Compressor =>
  (tensors) =>
    mapTensors(tensors, (tensor) => fromInt8(toInt8(tensor, uniform)));

/** The share (0 < share ≤ 1) of largest numbers, at least one. Biased: use it with error feedback. */
export const largest =
  (share: number): Compressor =>
  (tensors) => {
    if (!(share > 0 && share <= 1))
      throw new Error(`the share that top-k keeps must be above 0 and at most 1, not ${share}`);
    return fromTopK(topK(tensors, kept(share, countNumbers(tensors))));
  };

/** How many of so many numbers such a share is, at least one. */
export const kept = (share: number, numbers: number): number => Math.max(1, Math.round(share * numbers));

export interface Outgoing {
  /** What the server receives and sums. */
  readonly sent: Tensors;
  /** What was held back, to be given as `error` next time: the client's private state, adopted when the server accepts. */
  readonly error: Tensors;
  /** The norm before clipping, and whether it was clipped. */
  readonly norm: number;
  readonly clipped: boolean;
}

/**
 * An update on its way out, in the order that keeps its sensitivity: add the error of before, compress, decompress, clip (noise
 * is for the server). Compressing after clipping would not do: int8 rounding can exceed the bound, and what counts is the norm
 * of what is summed. The new error is all that was not sent, clipping included, so Σ sent + error = Σ updates.
 * Numbers are added in float64; only what is held back is rounded to float32.
 */
export function outgoing(
  update: Tensors,
  error: Tensors | undefined,
  options: { readonly compress?: Compressor; readonly bound?: number },
): Outgoing {
  const { compress, bound } = options;
  if (error !== undefined) requireSameShapes(update, error, 'an update and the error held back before');
  const wanted = new Map<string, Float64Array>();
  for (const [name, { data }] of update) {
    const before = error?.get(name)?.data;
    wanted.set(
      name,
      Float64Array.from(data, (x, i) => x + (before?.[i] ?? 0)),
    );
  }
  const whole = mapTensors(update, ({ shape }, name) => ({ shape, data: Float32Array.from(wanted.get(name)!) }));
  const arrived = compress === undefined ? whole : compress(whole);
  const { update: sent, norm, clipped } = clip(arrived, bound ?? Number.MAX_VALUE);
  const rest = mapTensors(sent, ({ shape, data }, name): Tensor => {
    const all = wanted.get(name)!;
    return { shape, data: Float32Array.from(data, (x, i) => all[i]! - x) };
  });
  return { sent, error: rest, norm, clipped };
}
