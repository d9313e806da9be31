import { Refusal } from '../refusal.ts';

/** Largest answer in JSON that a client takes, bytes: the description of a model in thousands of files has less. */
export const ANSWER_BYTES = 4 * 2 ** 20;

/** An answer's JSON, undefined where it is none. Throws `Refusal` once there is more than so many bytes, however many may follow. */
export async function jsonOf(response: Response, where: string): Promise<unknown> {
  const decoder = new TextDecoder();
  let [text, have] = ['', 0];
  for await (const chunk of (response.body ?? []) as AsyncIterable<Uint8Array>) {
    have += chunk.length;
    // Leaving the loop ends the connection.
    if (have > ANSWER_BYTES)
      throw new Refusal(
        0,
        'size',
        `${where} has more than ${ANSWER_BYTES} bytes, which no message of this protocol has`,
      );
    text += decoder.decode(chunk, { stream: true });
  }
  try {
    return JSON.parse(text + decoder.decode()) as unknown;
  } catch {
    return undefined;
  }
}

/** Failures of a connection: fetch throws TypeError for them, and a timeout is one too. */
export const isConnection = (error: unknown): boolean =>
  error instanceof TypeError || (error instanceof DOMException && error.name === 'TimeoutError');
