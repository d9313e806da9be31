import { decodeSafetensors, encodeHeader, joined } from '../../formats/safetensors.ts';
import type { Tensors } from '../../tensor/tensor.ts';

/** Tensors as a safetensors file in the map's own order, which sums over tensors depend on: `fromPayload` gives it back, bit for bit. */
export function* payloadChunks(tensors: Tensors): Generator<Uint8Array> {
  yield encodeHeader([...tensors].map(([name, { shape }]) => ({ name, dtype: 'F32' as const, shape })));
  for (const { data } of tensors.values()) yield new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}

/** The whole file. */
export const toPayload = (tensors: Tensors): Uint8Array => joined([...payloadChunks(tensors)]);

/** Throws UserError, naming `where`, for what is no safetensors file. */
export const fromPayload = (bytes: Uint8Array, where: string): Tensors => decodeSafetensors(bytes, where).tensors;

/** Bytes of the payload of these tensors at most: another program may write a longer header. */
export const payloadLimit = (tensors: Tensors): number =>
  [...tensors].reduce((sum, [name, { data }]) => sum + data.byteLength + 256 + 4 * name.length, 4096);
