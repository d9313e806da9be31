import type { Tensor, Tensors } from '../tensor/tensor.ts';
import { countNumbers, mapTensors, requireSameShapes, scale } from '../tensor/tensors.ts';
import type { Packed } from '../tensor/packed.ts';
import { shortened, type Scalable } from './clip.ts';
import { fromInt8, toInt8, type Int8Rows } from './int8.ts';
import { packInt8, packTopK } from './packing.ts';
import { fromTopK, topK, type Sparse } from './top-k.ts';

/** Tensors in a shorter form; `tensors` is what arrives. */
export interface Compressed extends Scalable<Compressed> {
  /** As they travel; nothing where that is no shorter. */
  pack(): Packed | undefined;
}

/** A lossy way of sending tensors. */
export type Compressor = (tensors: Tensors) => Compressed;

/** int8 per row with stochastic rounding, unbiased; `uniform` draws from [0, 1). */
export const int8 =
  (uniform: () => number): Compressor =>
  (tensors) =>
    inInt8(new Map([...tensors].map(([name, tensor]) => [name, toInt8(tensor, uniform)])));

const inInt8 = (rows: ReadonlyMap<string, Int8Rows>): Compressed => ({
  tensors: new Map([...rows].map(([name, each]) => [name, fromInt8(each)])),
  times: (factor) => inInt8(new Map([...rows].map(([name, each]) => [name, scaled(each, factor)]))),
  pack: () => packInt8(rows),
});

/** Shorter by its scales, so that it stays int8. */
const scaled = ({ scales, ...rest }: Int8Rows, factor: number): Int8Rows => ({
  ...rest,
  scales: scales.map((scale) => scale * factor),
});

/** The share (0 < share ≤ 1) of largest numbers, at least one. Biased: use it with error feedback. */
export const largest =
  (share: number): Compressor =>
  (tensors) => {
    if (!(share > 0 && share <= 1))
      throw new Error(`the share that top-k keeps must be above 0 and at most 1, not ${share}`);
    return asTopK(topK(tensors, kept(share, countNumbers(tensors))));
  };

const asTopK = (sparse: ReadonlyMap<string, Sparse>): Compressed => ({
  tensors: fromTopK(sparse),
  times: (factor) =>
    asTopK(
      new Map(
        [...sparse].map(([name, each]) => [name, { ...each, values: each.values.map((value) => value * factor) }]),
      ),
    ),
  pack: () => packTopK(sparse),
});

const whole = (tensors: Tensors): Compressed => ({
  tensors,
  times: (factor) => whole(scale(tensors, factor)),
  pack: () => undefined,
});

/** How many of so many numbers such a share is, at least one. */
export const kept = (share: number, numbers: number): number => Math.max(1, Math.round(share * numbers));

export interface Outgoing {
  /** What the server receives and sums. */
  readonly sent: Tensors;
  /** The same as it travels; nothing where nothing compresses it. */
  readonly pack: () => Packed | undefined;
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
  const all = mapTensors(update, ({ shape }, name) => ({ shape, data: Float32Array.from(wanted.get(name)!) }));
  const { form, norm, clipped } = shortened((compress ?? whole)(all), bound ?? Number.MAX_VALUE);
  const sent = form.tensors;
  const rest = mapTensors(sent, ({ shape, data }, name): Tensor => {
    const before = wanted.get(name)!;
    return { shape, data: Float32Array.from(data, (x, i) => before[i]! - x) };
  });
  return { sent, pack: () => form.pack(), error: rest, norm, clipped };
}
