import { optionalText, type Database } from './database.ts';

/** How far a journal had come: numbers of its last event and of its audit's last line, and that line's hash. */
export interface Position {
  readonly events: number;
  readonly lines: number;
  readonly hash: string;
}

/** A journal's database that knows how far it is durable: what was written lazily since the last sync may be lost with the machine's power. */
export function positioned(database: Database): { readonly database: Database; readonly position: () => Position } {
  const now = (): Position => {
    const [event] = database.all('select max(id) as id from events');
    const [line] = database.all('select id, hash from audit order by id desc limit 1');
    return {
      events: Number(event?.['id'] ?? 0),
      lines: Number(line?.['id'] ?? 0),
      hash: optionalText(line, 'hash') ?? '',
    };
  };
  let durable: Position | undefined;
  return {
    database: {
      ...database,
      transaction(body, lazily) {
        // Before anything is written by this process, all there is counts.
        durable ??= now();
        database.transaction(body, lazily);
        if (lazily === undefined) durable = now();
      },
    },
    position: () => (durable ??= now()),
  };
}
