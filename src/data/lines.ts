import { UserError } from '../errors.ts';

export interface Line {
  /** Counted from 1, blank lines included. */
  readonly number: number;
  readonly text: string;
}

/** More than any instruction row; a file without line breaks is not JSONL, and would otherwise fill the memory. */
const LONGEST = 32 * 1024 * 1024;

/**
 * The lines of a UTF-8 text as its bytes arrive, without line ends and byte order mark; blank lines are passed over.
 * Throws UserError, with the file and the line, for bytes that are not UTF-8 and for lines above `longest` bytes.
 */
export async function* linesOf(
  chunks: AsyncIterable<Uint8Array>,
  where: string,
  longest: number = LONGEST,
): AsyncGenerator<Line> {
  const decoder = new TextDecoder('utf-8', { fatal: true });
  let number = 0;
  let pending: Uint8Array[] = [];
  let held = 0;

  function take(last: Uint8Array): Line | undefined {
    const bytes = pending.length === 0 ? last : joined([...pending, last], held + last.length);
    pending = [];
    held = 0;
    number++;
    if (bytes.length > longest) throw tooLong(where, number, longest);
    const text = decoded(decoder, bytes, `${where}, line ${number}`).replace(/\r$/, '');
    return text.trim() === '' ? undefined : { number, text };
  }

  for await (const chunk of chunks) {
    let from = 0;
    for (let end = chunk.indexOf(10); end >= 0; end = chunk.indexOf(10, from)) {
      const line = take(chunk.subarray(from, end));
      from = end + 1;
      if (line) yield line;
    }
    if (from < chunk.length) {
      // A copy: the reader may use its buffer again.
      pending.push(chunk.slice(from));
      held += chunk.length - from;
      if (held > longest) throw tooLong(where, number + 1, longest);
    }
  }
  if (held > 0) {
    const line = take(new Uint8Array(0));
    if (line) yield line;
  }
}

function tooLong(where: string, number: number, longest: number): UserError {
  return new UserError(
    `${where}, line ${number}: longer than ${longest} bytes. JSONL has one JSON object per line; is this another format?`,
  );
}

function joined(parts: readonly Uint8Array[], length: number): Uint8Array {
  const all = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

/** Text of UTF-8 bytes; throws UserError naming `where` if they are not. */
export function decoded(decoder: TextDecoder, bytes: Uint8Array, where: string): string {
  try {
    return decoder.decode(bytes);
  } catch (error) {
    throw new UserError(`${where}: not valid UTF-8. Save the file as UTF-8.`, { cause: error });
  }
}
