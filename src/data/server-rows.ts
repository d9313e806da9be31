import { UserError } from '../errors.ts';
import type { LoadRequest } from './load.ts';
import { readDataset } from './read.ts';
import { createTemplate } from './template.ts';
import { requireLength, tokeniser } from './tokenise.ts';
import type { TokenRow } from './types.ts';

/** The server's own rows from a file, all to train on. */
export interface ServerRows {
  readonly rows: readonly TokenRow[];
  /** Rows read, before any was dropped. */
  readonly read: number;
  readonly dropped: ReadonlyMap<string, number>;
  /** Rows cut to `maxLength`. */
  readonly truncated: number;
}

/**
 * Reads and tokenises `clients.proxy: {path: …}`, a file or folder in the format of `data`. The same files give the same rows,
 * whoever the clients are. Throws UserError for malformed data, and where no row can be learnt.
 */
export async function readServerRows(
  path: string,
  { data, tokenizer, seed, modelLength, signal }: Omit<LoadRequest, 'source' | 'clients' | 'owner'>,
): Promise<ServerRows> {
  requireLength(data, modelLength);
  const set = await readDataset(path, data, { seed, ...(signal && { signal }) });
  const dropped = new Map(set.dropped);
  const tokens = tokeniser(createTemplate(data, tokenizer), dropped, signal);
  const { rows } = await tokens.rows(set.examples);
  if (rows.length === 0) throw new UserError(`clients.proxy: none of the ${set.rows} rows of ${path} can be learnt`);
  return { rows, read: set.rows, dropped, truncated: tokens.truncated() };
}
