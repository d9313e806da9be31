import { closeSync, openSync, readSync } from 'node:fs';
import { open } from 'node:fs/promises';

/** A payload on the disk. */
export interface PayloadFile {
  readonly path: string;
  /** Bytes. */
  readonly size: number;
}

/** Bytes in memory at a time where a file is gone through piece by piece. A multiple of every type's size. */
export const PIECE = 2 ** 20;

/** So many bytes of a file from one of them on, as a copy. Throws where the file is shorter. */
export async function bytesAt(path: string, from: number, length: number): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = new Uint8Array(length);
  const handle = await open(path, 'r');
  try {
    for (let at = 0; at < length;) {
      const { bytesRead } = await handle.read(bytes, at, length - at, from + at);
      if (bytesRead === 0) throw new Error(`${path} ended at byte ${from + at}`);
      at += bytesRead;
    }
    return bytes;
  } finally {
    await handle.close();
  }
}

/** A file's bytes in pieces whose memory is used again: read one before you ask for the next. */
export function* filePieces(path: string): Generator<Uint8Array> {
  const piece = new Uint8Array(PIECE);
  const file = openSync(path, 'r');
  try {
    for (let got = readSync(file, piece); got > 0; got = readSync(file, piece)) yield piece.subarray(0, got);
  } finally {
    closeSync(file);
  }
}
