import type { Tensors } from '../tensor/tensor.ts';
import { byteSize, countNumbers } from '../tensor/tensors.ts';
import type { Compression } from './guards.ts';
import { int8, kept, largest, type Compressor } from './compress.ts';

/** How an update is compressed at its client. `uniform` draws from [0, 1), for stochastic rounding. */
export const compressorOf = (compression: Compression, uniform: () => number): Compressor =>
  compression.use === 'int8' ? int8(uniform) : largest(compression.share);

/**
 * Bytes of such an update on its way. int8: one a number, four a row for its scale. top-k: for each number kept its 32 bits and
 * its position's ⌈log₂ d⌉, d numbers in all. Depends on shapes only, so it tells nothing of a client.
 */
export function payloadBytes(update: Tensors, compression: Compression | undefined): number {
  if (compression === undefined) return byteSize(update);
  const numbers = countNumbers(update);
  if (compression.use === 'top-k') {
    return Math.ceil((kept(compression.share, numbers) * (32 + Math.ceil(Math.log2(Math.max(1, numbers))))) / 8);
  }
  const rows = [...update.values()].reduce(
    (sum, { shape, data }) => sum + data.length / Math.max(1, shape.at(-1) ?? 1),
    0,
  );
  return numbers + 4 * rows;
}
