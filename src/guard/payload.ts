import { packedBytes, type Packing } from '../tensor/packed.ts';
import type { Tensors } from '../tensor/tensor.ts';
import { byteSize } from '../tensor/tensors.ts';
import { UNCLIPPED } from './beside.ts';
import { int8, kept, largest, type Compressor } from './compress.ts';
import type { Compression } from './guards.ts';
import { beside, int8Packing, topKPacking } from './packing.ts';

/** How an update is compressed at its client. `uniform` draws from [0, 1), for stochastic rounding. */
export const compressorOf = (compression: Compression, uniform: () => number): Compressor =>
  compression.use === 'int8' ? int8(uniform) : largest(compression.share);

/** How what is compressed travels; the mark of an update that was clipped goes beside it. */
export const packingOf = (compression: Compression): Packing =>
  beside(
    compression.use === 'int8' ? int8Packing : topKPacking((numbers) => kept(compression.share, numbers)),
    (name) => name === UNCLIPPED,
  );

/**
 * Bytes of such an update on its way. int8: one a number, four a row for its scale. top-k: for each number kept its 32 bits and
 * its position's ⌈log₂ d⌉, d numbers in all. Depends on shapes only, so it tells nothing of a client.
 */
export const payloadBytes = (update: Tensors, compression: Compression | undefined): number =>
  compression === undefined
    ? byteSize(update)
    : packingOf(compression)
        .plan(update)
        .reduce((sum, tensor) => sum + packedBytes(tensor), 0);
