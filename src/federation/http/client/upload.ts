import { bytesAt, type PayloadFile } from '../payload-file.ts';
import { UPLOAD_PIECE, type UploadState } from '../protocol.ts';
import { Refusal } from '../refusal.ts';
import { isConnection } from './answer.ts';

/** How the server is spoken to about one upload. */
export interface UploadLine {
  /** How much of it the server has. */
  readonly has: () => Promise<UploadState>;
  /** Sends a piece, once. */
  readonly put: (piece: Uint8Array, range: string) => Promise<UploadState>;
  /** Tries again, with pauses, what failed with a `TypeError`. */
  readonly patiently: <T>(attempt: () => Promise<T>) => Promise<T>;
}

/** Answers that a server may give until it has the whole: many times what is needed, for lines that are cut and servers that are killed. */
export const mostAnswers = (size: number): number => 40 + 16 * Math.ceil(size / UPLOAD_PIECE);

/**
 * Sends what the server does not have yet, a piece at a time. Throws `Refusal` where it says that it has more than there is, and after
 * `mostAnswers`: whatever it says, it cannot have a client send without end.
 */
export async function sendMissing(
  digest: string,
  payload: PayloadFile | Uint8Array,
  { has, put, patiently }: UploadLine,
): Promise<void> {
  const size = payload instanceof Uint8Array ? payload.length : payload.size;
  let answers = 0;
  const possible = (state: UploadState): UploadState => {
    if (state.received <= size) return state;
    throw new Refusal(0, 'answer', `the server has ${state.received} bytes of upload ${digest}, it says, of ${size}`);
  };

  /** What the server has after a piece was sent. */
  async function sent(from: number): Promise<UploadState> {
    // All of it is there, and the server is not done with it.
    if (from === size) return has();
    const end = Math.min(from + UPLOAD_PIECE, size);
    const piece =
      payload instanceof Uint8Array ? payload.subarray(from, end) : await bytesAt(payload.path, from, end - from);
    try {
      return await put(piece, `bytes ${from}-${end - 1}/${size}`);
    } catch (error) {
      // Cut, out of order or still being written: the server says how far it is.
      if (error instanceof Refusal && error.received !== undefined && error.status < 500) return has();
      // What arrived is not what was sent: the server has thrown it away, and it begins anew.
      if (error instanceof Refusal && error.code === 'digest')
        throw new TypeError(`upload ${digest} came with other bytes`, { cause: error });
      if (!isConnection(error)) throw error;
      const now = await has();
      if (now.complete || now.received !== from) return now;
      throw error;
    }
  }

  for (let { received, complete } = possible(await has()); !complete;) {
    const from = received;
    ({ received, complete } = await patiently(async () => {
      const now = possible(await sent(from));
      if (++answers >= mostAnswers(size) && !now.complete)
        throw new Refusal(
          0,
          'endless',
          `after ${answers} answers the server has ${now.received} of the ${size} bytes of upload ${digest}: it does not come to an end`,
        );
      if (!now.complete && now.received === from)
        throw new TypeError(`the server stays at byte ${from} of the ${size} of upload ${digest}`);
      return now;
    }));
  }
}
