import { valueAt } from '../config/problems.ts';
import { UserError } from '../errors.ts';
import { textOfFile } from '../formats/files/read.ts';
import { runFolder } from '../run/folder.ts';
import type { Cell } from './cells.ts';

/**
 * Looks at one finished run of a sweep after the other. Throws UserError where runs of one seed that deal the same data had
 * other rows, or any two another base model: a file was changed between them, and comparing them would say nothing. Tries of
 * a tuning are compared with each other, since their test rows are those of validation.
 */
export function sameInputs(): (cell: Cell) => Promise<void> {
  const first = new Map<string, { readonly cell: Cell; readonly digest: unknown }>();
  return async (cell) => {
    const { data, clients, seed } = cell.config;
    const about = JSON.parse(await textOfFile(runFolder(cell.out).environment)) as unknown;
    for (const [what, key] of [
      ['model', 'model'],
      ['data', JSON.stringify([cell.tried !== undefined, seed, data, clients])],
    ] as const) {
      const digest = valueAt(about, ['identity', what]);
      const other = first.get(key);
      if (other === undefined) first.set(key, { cell, digest });
      else if (other.digest !== digest)
        throw new UserError(
          `the ${what} changed between the runs in ${other.cell.out} and in ${cell.out}, which cannot be compared: remove those of before the change, and the same command computes them again`,
        );
    }
  };
}
