import type { Stats } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';
import { UserError } from '../../errors.ts';

const kindOf = (found: Stats): string => {
  if (found.isDirectory()) return 'a folder';
  if (found.isFIFO()) return 'a pipe';
  return found.isSocket() ? 'a socket' : 'a device';
};

/** Throws UserError where a path leads to something else than a file, since a pipe or a device may never end, and the system's error where it leads nowhere. */
export async function requireFile(path: string): Promise<void> {
  const found = await stat(path);
  if (!found.isFile()) throw new UserError(`${path}: is ${kindOf(found)}, not a file`);
}

/** The bytes of a file that someone has named, whole. Throws UserError where it is none or cannot be read. */
export async function bytesOfFile(path: string): Promise<Buffer> {
  try {
    await requireFile(path);
    return await readFile(path);
  } catch (error) {
    if (error instanceof UserError) throw error;
    const { code, message } = error as NodeJS.ErrnoException;
    const why = code === 'ENOENT' ? 'there is no such file' : `cannot be read: ${message}`;
    throw new UserError(`${path}: ${why}`, { cause: error });
  }
}

/** The text of a file that someone has named, as `bytesOfFile`. */
export const textOfFile = async (path: string): Promise<string> => (await bytesOfFile(path)).toString('utf8');
