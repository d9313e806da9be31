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

/** Why a connection failed: the system's words, and what they mean where they are a code. */
export function reasonOf(error: unknown): string {
  const { cause, message } = error as Error;
  if (!(cause instanceof Error)) return message;
  // Of several addresses each has an error of its own.
  const first = cause instanceof AggregateError ? (cause.errors[0] as Error) : cause;
  const said = first.message === '' ? message : first.message;
  const meant = MEANT[(first as NodeJS.ErrnoException).code ?? ''];
  return meant === undefined ? said : `${meant} (${said})`;
}

const MEANT: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'nothing listens at this address and port: is the server running?',
  ENOTFOUND: 'no machine is known by this name',
  EAI_AGAIN: 'its name cannot be looked up at present',
  ECONNRESET: 'the connection was cut',
  ETIMEDOUT: 'the machine is silent: is a firewall between?',
  UND_ERR_CONNECT_TIMEOUT: 'the machine is silent: is a firewall between?',
  EHOSTUNREACH: 'there is no way to this machine from here',
  ENETUNREACH: 'there is no way to this machine from here',
};
