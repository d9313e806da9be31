import type { ClientData } from '../data/types.ts';
import { POOLED } from './federation.ts';

/** The clients of a run, their data read when needed. */
export interface ClientSource {
  /** Unique names, sorted by code unit. */
  readonly ids: readonly string[];
  get(id: string): ClientData | Promise<ClientData>;
}

/** Clients whose data are at hand. Throws where two have one name. */
export function clientSource(clients: readonly ClientData[]): ClientSource {
  const byId = new Map(clients.map((client) => [client.id, client]));
  if (byId.size < clients.length) {
    const twice = clients.find((client, index) => clients.findIndex((other) => other.id === client.id) < index);
    throw new Error(`two clients are named “${twice?.id}”`);
  }
  return {
    ids: sortedNames(byId.keys()),
    get(id) {
      const client = byId.get(id);
      if (client === undefined) throw new Error(`no client is named “${id}”`);
      return client;
    },
  };
}

/** All clients' training rows as one client's, in order of the clients' names, and last the server's own: what a stage for `pooled` works on. */
export async function pooled(clients: ClientSource, proxy?: ClientData): Promise<ClientData> {
  const parts = [...(await Promise.all(clients.ids.map(async (id) => clients.get(id)))), ...(proxy ? [proxy] : [])];
  return {
    id: POOLED,
    train: parts.flatMap(({ train }) => train),
    validation: parts.flatMap(({ validation }) => validation),
    test: [],
    testExamples: [],
  };
}

/** Sorted by UTF-16 code unit: the same on every machine and in every locale. */
export const sortedNames = (names: Iterable<string>): string[] =>
  [...names].sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));
