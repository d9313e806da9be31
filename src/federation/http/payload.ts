import {
  decodeSafetensors,
  encodeHeader,
  headerLength,
  joined,
  parseHeader,
  PREFIX_BYTES,
} from '../../formats/safetensors.ts';
import { packedBytes, unlike, type Packed, type PackedTensor, type Packing } from '../../tensor/packed.ts';
import type { Tensors } from '../../tensor/tensor.ts';
import { sizeOf, type Shapes } from '../../tensor/tensors.ts';

/** Tensors as a safetensors file in the map's own order, which sums over tensors depend on: `fromPayload` gives it back, bit for bit. */
export function* payloadChunks(tensors: Tensors): Generator<Uint8Array> {
  yield encodeHeader([...tensors].map(([name, { shape }]) => ({ name, dtype: 'F32' as const, shape })));
  for (const { data } of tensors.values()) yield new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}

/** The whole file. */
export const toPayload = (tensors: Tensors): Uint8Array => joined([...payloadChunks(tensors)]);

/** Throws UserError, naming `where`, for what is no safetensors file. */
export const fromPayload = (bytes: Uint8Array, where: string): Tensors => decodeSafetensors(bytes, where).tensors;

/** An update in its shorter form as a safetensors file. */
export function* packedChunks(packed: Packed): Generator<Uint8Array> {
  yield encodeHeader([...packed].map(([name, { dtype, shape }]) => ({ name, dtype, shape })));
  for (const { bytes } of packed.values()) yield bytes;
}

/**
 * The update that a payload holds in the shorter form of `packing`, which needs to know the names and shapes that it is `like`.
 * Throws UserError, naming `where`, for what is no safetensors file, and `Error` for one that is not in that form.
 */
export function unpacked(bytes: Uint8Array, where: string, like: Shapes, packing: Packing): Tensors {
  const length = headerLength(bytes.subarray(0, PREFIX_BYTES), bytes.length, where);
  const { tensors } = parseHeader(bytes.subarray(PREFIX_BYTES, PREFIX_BYTES + length), bytes.length, where);
  const packed = new Map<string, PackedTensor>();
  for (const [name, { dtype, shape, offset, length: size }] of tensors) {
    // Another type is another plan; that it is one of these is said below.
    packed.set(name, { dtype: dtype as PackedTensor['dtype'], shape, bytes: bytes.subarray(offset, offset + size) });
  }
  const difference = unlike(packing.plan(like), packed);
  if (difference !== undefined) throw new Error(`the payload is not in the form of this run's guards: ${difference}`);
  return packing.unpack(packed, like);
}

/** Bytes of the payload of such an update at most: another program may write a longer header. */
export const payloadLimit = (update: Shapes, packing?: Packing): number =>
  (packing === undefined
    ? [...update].map(([name, { shape }]) => ({ name, size: 4 * sizeOf(shape) }))
    : packing.plan(update).map((tensor) => ({ name: tensor.name, size: packedBytes(tensor) }))
  ).reduce((sum, { name, size }) => sum + size + 256 + 4 * name.length, 4096);
