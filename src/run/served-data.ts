import type { ServerRows } from '../data/server-rows.ts';
import type { TokenRow } from '../data/types.ts';
import type { FederationServer } from '../federation/http/server/open.ts';
import type { Summary } from '../report/summary.ts';
import { rowsDigest } from './subject.ts';

/** The clients as they told, and the server's own rows, where it has any. */
export function summariseServed(
  store: Pick<FederationServer['store'], 'clients'>,
  names: readonly string[],
  own: ServerRows | undefined,
): Summary['data'] {
  const counts = new Map(store.clients().map(({ name, data }) => [name, data]));
  const clients = names.map((id) => {
    const { train, validation, test, labelledTokens } = counts.get(id) ?? {
      train: 0,
      validation: 0,
      test: 0,
      labelledTokens: 0,
    };
    return { id, train, validation, test, labelledTokens, histogram: {} };
  });
  const rows = clients.reduce((sum, { train, validation, test }) => sum + train + validation + test, 0);
  const named = { name: 'data of the clients', partition: 'each client its own', clients };
  if (own === undefined) return { ...named, rows, dropped: {}, truncated: 0 };
  const { read, dropped, truncated } = own;
  const partition = `each client its own, and ${own.rows.length} rows at the server`;
  return { ...named, partition, rows: rows + read, dropped: Object.fromEntries(dropped), truncated };
}

/** What a server knows of the rows that its run depends on. */
export const dataAt = (own: readonly TokenRow[] | undefined): string =>
  own === undefined ? 'at the clients' : `at the clients, and at the server ${rowsDigest(own)}`;
