import type { FloatDtype } from '../../src/formats/dtype.ts';
import { joined, safetensorsChunks } from '../../src/formats/safetensors.ts';
import type { Tensors } from '../../src/tensor/tensor.ts';

/** A whole file in memory, byte for byte as the reference implementation writes these tensors in one type. */
export function encodeSafetensors(
  tensors: Tensors,
  dtype: FloatDtype = 'F32',
  metadata?: Readonly<Record<string, string>>,
): Uint8Array {
  return joined([...safetensorsChunks(tensors, dtype, metadata)]);
}
