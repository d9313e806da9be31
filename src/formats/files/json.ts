import { readFile } from 'node:fs/promises';
import { UserError } from '../../errors.ts';
import { parseJson } from '../json.ts';

/** The text of a file, or undefined where there is none. Throws UserError where it cannot be read. */
export async function readOptional(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new UserError(`${path}: cannot be read: ${(error as Error).message}`, { cause: error });
  }
}

/** A JSON file's contents, or undefined where there is none. Throws UserError where it is not JSON. */
export async function readOptionalJson(path: string): Promise<unknown> {
  const text = await readOptional(path);
  return text === undefined ? undefined : parseJson(text, path);
}
