import { decodeChunks } from '../../src/tensor/encode.ts';
import type { State } from '../../src/tensor/state.ts';

/** The state of bytes in one piece. */
export const decodeState = (bytes: Uint8Array): State => decodeChunks([bytes], bytes.length);
