import { dollyRow } from './dolly.ts';
import { filesOf, lines } from './files.ts';
import { jsonlRow } from './jsonl.ts';
import type { DataConfig } from './settings.ts';
import { gather, parseRow, type Dataset } from './rows.ts';
import { readTasks } from './task-files.ts';

/** What of the settings reading needs. */
export type ReadConfig = Pick<DataConfig, 'format' | 'columns' | 'naturalInstructions'>;

export interface ReadOptions {
  /** Draws `naturalInstructions.perTask` instances; default 0. */
  readonly seed?: number;
  readonly signal?: AbortSignal;
}

/**
 * Reads a data set from a file or a folder. Of a folder: every `.jsonl` file in order of name (dolly, jsonl), or every
 * `task*.json` or `task*.jsonl` file of it, of `tasks/`, or of `train/` and `test/` (natural-instructions).
 * Rows without a response are dropped and counted. Throws UserError with the file and the line for anything malformed.
 */
export async function readDataset(source: string, config: ReadConfig, options: ReadOptions = {}): Promise<Dataset> {
  if (config.format === 'natural-instructions')
    return readTasks(source, config.naturalInstructions ?? {}, options.seed ?? 0, options.signal);
  const rows = gather();
  let index = 0;
  for (const file of await filesOf(source, /\.jsonl$/i, '.jsonl file')) {
    for await (const line of lines(file, options.signal)) {
      const where = `${file}, line ${line.number}`;
      const row = parseRow(line.text, where);
      const id = String(index++);
      rows.add(config.format === 'dolly' ? dollyRow(row, id, where) : jsonlRow(row, id, where, config.columns), where);
    }
  }
  return rows.done(source);
}
