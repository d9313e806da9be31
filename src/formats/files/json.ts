import { UserError } from '../../errors.ts';
import { parseJson } from '../json.ts';
import { textOfFile } from './read.ts';

/** The text of a file, or undefined where there is none. Throws UserError where it cannot be read. */
export async function readOptional(path: string): Promise<string | undefined> {
  try {
    return await textOfFile(path);
  } catch (error) {
    if (error instanceof UserError && (error.cause as NodeJS.ErrnoException | undefined)?.code === 'ENOENT')
      return undefined;
    throw error;
  }
}

/** A JSON file's contents, or undefined where there is none. Throws UserError where it is not JSON. */
export async function readOptionalJson(path: string): Promise<unknown> {
  const text = await readOptional(path);
  return text === undefined ? undefined : parseJson(text, path);
}
