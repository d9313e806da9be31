import { dirname, resolve } from 'node:path';
import type { KnownMethods } from '../config/check.ts';
import { contentsOf, readDocument } from '../config/parse.ts';
import { valueAt } from '../config/problems.ts';
import { checkSweep, type Given, type Sweep } from '../config/sweep.ts';
import type { SweepInput } from '../config/sweep-schema.ts';
import { UserError } from '../errors.ts';
import { textOfFile } from '../formats/files/read.ts';

/** Reads a sweep from its file, or takes it as a value, with the base that it names. Throws UserError with the place of every mistake and what would be right. */
export async function readSweep(given: string | SweepInput, methods: KnownMethods): Promise<Sweep> {
  const sweep =
    typeof given === 'string'
      ? await fromFile(given, 'a sweep with the keys base, seeds, baseline and arms')
      : { value: given, locate: () => ({ text: '', order: 0 }), resolve: (path: string) => resolve(path) };
  if (valueAt(sweep.value, ['methods']) !== undefined && valueAt(sweep.value, ['arms']) === undefined)
    throw new UserError(
      `${typeof given === 'string' ? given : 'the sweep'}: this is a run's configuration, with \`methods\` in place of \`arms\`: fedlora run takes it, and a sweep names it as its \`base\``,
    );
  const base: unknown = (sweep.value as { readonly base?: unknown }).base;
  const from = typeof base === 'string' ? await fromFile(sweep.resolve(base), 'a configuration of a run') : undefined;
  return checkSweep(sweep, from, methods);
}

/** Paths in a file are meant from its folder. */
async function fromFile(file: string, expected: string): Promise<Given> {
  const { document, locate } = readDocument(await textOfFile(file), file, expected);
  const folder = dirname(file);
  return { value: contentsOf(document, file), locate, resolve: (path) => resolve(folder, path) };
}
