import { createContext, Script } from 'node:vm';
import type { Tokenizer } from '../../data/tokenizer.ts';
import { UserError } from '../../errors.ts';
import { isRecord } from '../json.ts';

const room = createContext({ work: undefined as unknown });
const script = new Script('work()');

/** Does work that cannot be awaited, such as matching a regular expression; undefined where it took longer and was broken off. */
function within<T>(milliseconds: number, work: () => T): { readonly value: T } | undefined {
  room['work'] = work;
  try {
    return { value: script.runInContext(room, { timeout: Math.ceil(milliseconds) }) as T };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ERR_SCRIPT_EXECUTION_TIMEOUT') return undefined;
    throw error;
  } finally {
    room['work'] = undefined;
  }
}

/** Milliseconds more for every character of a text: many times what the slowest tokenizer takes. */
const FOR_EACH = 0.1;

/**
 * A tokenizer whose own code cannot take for ever: a regular expression of tokenizer.json may need a time that doubles with each
 * character of a text, and a chat template may loop. Both are broken off with a UserError after `limit` milliseconds, and a tenth
 * of one more for each character. Without expressions of the file's own, texts are not watched: that takes some 0.05 ms each.
 * @param parts of tokenizer.json that may hold expressions; `known`: those that take no longer than a text is long
 */
export function timeLimited(
  tokenizer: Tokenizer,
  parts: unknown,
  known: (expression: string) => boolean,
  limit: number,
  where: string,
): Tokenizer {
  const watched = <T>(length: number, what: string, work: () => T): T => {
    const done = within(limit + FOR_EACH * length, work);
    if (done !== undefined) return done.value;
    throw new UserError(
      `${where}: ${what} was not done with a text of ${length} characters after ${limit / 1000} s, and was stopped: take these files from where the model was made`,
    );
  };
  const one = expressionsOf(parts).find((expression) => !known(expression));
  const what = `tokenizer.json, with the expression ${JSON.stringify(one)},`;
  return {
    ...tokenizer,
    ...(one !== undefined && {
      encode: (text, options) => watched(text.length, what, () => tokenizer.encode(text, options)),
      decode: (ids, options) => watched(ids.length, what, () => tokenizer.decode(ids, options)),
    }),
    renderChat: (messages, options) =>
      watched(
        messages.reduce((sum, { content }) => sum + content.length, 0),
        'the chat template',
        () => tokenizer.renderChat(messages, options),
      ),
  };
}

/** The regular expressions anywhere in these. */
function expressionsOf(part: unknown): string[] {
  if (Array.isArray(part)) return part.flatMap(expressionsOf);
  if (!isRecord(part)) return [];
  return Object.entries(part).flatMap(([key, value]) =>
    key === 'Regex' && typeof value === 'string' ? [value] : expressionsOf(value),
  );
}
