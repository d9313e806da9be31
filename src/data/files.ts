import { createReadStream } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { UserError } from '../errors.ts';
import { bytesOfFile, requireFile } from '../formats/files/read.ts';
import { decoded, linesOf, type Line } from './lines.ts';
import { parseJson } from './rows.ts';

/** Lines of a file as they are read; see `linesOf`. */
export async function* lines(file: string, signal?: AbortSignal): AsyncGenerator<Line> {
  await requireFile(file);
  yield* linesOf(createReadStream(file, { signal }), file);
}

export const isFolder = async (path: string): Promise<boolean> =>
  (await stat(path).catch(() => undefined))?.isDirectory() === true;

export const exists = async (path: string): Promise<boolean> => (await stat(path).catch(() => undefined)) !== undefined;

/** The file itself, or the files of a folder whose names match, in order of name. `what` names them in the error for none. */
export async function filesOf(source: string, pattern: RegExp, what: string): Promise<string[]> {
  if (!(await exists(source))) throw new UserError(`${source}: no such file or folder`);
  if (!(await isFolder(source))) return [source];
  const names = (await readdir(source)).filter((name) => pattern.test(name)).sort();
  if (names.length > 0) return names.map((name) => join(source, name));
  throw new UserError(`${source}: no ${what} in this folder`);
}

/** A JSON file as parsed; throws UserError for a missing file, bytes that are not UTF-8 and malformed JSON. */
export async function readJson(file: string): Promise<unknown> {
  return parseJson(decoded(new TextDecoder('utf-8', { fatal: true }), await bytesOfFile(file), file), file);
}
