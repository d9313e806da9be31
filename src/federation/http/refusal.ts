/**
 * A request that is refused: the status, a code for programs, a sentence for people. Nothing was changed. The server throws it,
 * and the client again when it reads the answer; there a status of 0 is an answer that is none of this protocol's.
 */
export class Refusal extends Error {
  override readonly name = 'Refusal';
  readonly status: number;
  readonly code: string;
  /** With an upload out of order: how much is there. */
  readonly received: number | undefined;

  constructor(status: number, code: string, message: string, received?: number) {
    super(message);
    this.status = status;
    this.code = code;
    this.received = received;
  }
}

/** The status of a question that a server which was started again cannot answer yet. */
export const TOO_EARLY = 425;

/** The code with which a client is told that the server does not know, or no longer, what the client has. */
export const NOT_READY = 'not-ready';
