import { createHash } from 'node:crypto';
import type { Database } from './database.ts';

/** A line for people of what happened to a run: who joined, what was accepted, which version of what code. */
export interface AuditLine {
  /** ISO 8601, UTC. */
  readonly time: string;
  /** E.g. `joined`, `received`, `accepted`, `left out`, `started`, `revoked`. */
  readonly what: string;
  /** Whom it is about; empty where it is nobody in particular. */
  readonly client: string;
  readonly detail: string;
}

/** A line as it is kept: numbered from 1, and with the SHA-256 of itself and the hash of the line before. */
export interface ChainedLine extends AuditLine {
  readonly id: number;
  readonly hash: string;
}

/** How a run's lines hang together: the newest one's number and hash, and the first that does not follow from the one before it. */
export interface AuditChain {
  readonly lines: number;
  readonly newest: string;
  readonly broken: number | null;
}

/** Its time is now unless it says so. */
export type AuditEntry = Omit<AuditLine, 'time'> & Partial<Pick<AuditLine, 'time'>>;

/** Up to version 2 of the tables. */
export const unchainedTable = `
  create table audit (id integer primary key, time text not null, what text not null, client text not null, detail text not null);`;

export const auditTable = `${unchainedTable}
  alter table audit add column hash text not null default '';`;

/** What a line's hash is: hexadecimal SHA-256 of the JSON array of the hash before it (of the first line ''), its number and its four texts. */
export const lineHash = (before: string, { id, time, what, client, detail }: Omit<ChainedLine, 'hash'>): string =>
  createHash('sha256')
    .update(JSON.stringify([before, id, time, what, client, detail]))
    .digest('hex');

/** Goes on with a chain: `broken` stays what it was, or is the first line that does not follow. Lines in the order of their numbers. */
export function chained(chain: AuditChain, lines: Iterable<ChainedLine>): AuditChain {
  let { lines: last, newest, broken } = chain;
  for (const line of lines) {
    if (broken === null && (line.id !== last + 1 || line.hash !== lineHash(newest, line))) broken = line.id;
    [last, newest] = [line.id, line.hash];
  }
  return { lines: last, newest, broken };
}

/** Before the first line. */
export const noLines: AuditChain = { lines: 0, newest: '', broken: null };

const PAGE = 5000;

/** The audit's lines in a journal, which only grow. Writing belongs in a transaction of the caller's. */
export function auditIn(database: Pick<Database, 'run' | 'all'>) {
  /** Lines behind the one with this number, at most so many. */
  const read = (after: number, most: number): readonly ChainedLine[] =>
    database.all('select * from audit where id > ? order by id limit ?', after, most).map((row) => ({
      id: Number(row['id']),
      time: String(row['time']),
      what: String(row['what']),
      client: String(row['client']),
      detail: String(row['detail']),
      hash: String(row['hash']),
    }));
  return {
    write(lines: readonly AuditEntry[]): void {
      const [last] = database.all('select id, hash from audit order by id desc limit 1');
      let [id, hash] = last === undefined ? [0, ''] : [Number(last['id']), String(last['hash'])];
      for (const { time = new Date().toISOString(), what, client, detail } of lines) {
        id++;
        hash = lineHash(hash, { id, time, what, client, detail });
        database.run('insert into audit values (?, ?, ?, ?, ?, ?)', id, time, what, client, detail, hash);
      }
    },
    read,
    /** Looks through all lines. */
    chain(): AuditChain {
      let chain = noLines;
      for (let after = 0; ;) {
        const page = read(after, PAGE);
        chain = chained(chain, page);
        if (page.length < PAGE) return chain;
        after = page.at(-1)!.id;
      }
    },
    /** Chains the lines of a version that had no chain. */
    link(): void {
      let hash = '';
      for (let after = 0; ;) {
        const page = read(after, PAGE);
        for (const line of page) {
          hash = lineHash(hash, line);
          database.run('update audit set hash = ? where id = ?', hash, line.id);
        }
        if (page.length < PAGE) return;
        after = page.at(-1)!.id;
      }
    },
  };
}
