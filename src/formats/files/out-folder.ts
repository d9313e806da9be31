import { access, constants, readdir } from 'node:fs/promises';
import { UserError } from '../../errors.ts';
import { makeFolder, reasons } from './atomic.ts';

/** Names in the folder that a command writes into, none where it is not there. Throws `UserError` where it is a file. */
export async function entriesIn(path: string): Promise<readonly string[]> {
  return await readdir(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    if (error.code === 'ENOTDIR') throw new UserError(`${path} is a file: choose another output folder`);
    throw error;
  });
}

/** Makes the folder that a command writes into. `mode`: its permissions. Throws `UserError` where that cannot be. */
export async function makeOut(path: string, mode?: number): Promise<void> {
  try {
    await makeFolder(path, mode);
    await access(path, constants.W_OK);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    throw new UserError(
      `${path}: this folder cannot be written to: ${reasons[code ?? ''] ?? message}. Name one that can (--out)`,
      { cause: error },
    );
  }
}
