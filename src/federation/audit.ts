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

/** Its time is now unless it says so. */
export type AuditEntry = Omit<AuditLine, 'time'> & Partial<Pick<AuditLine, 'time'>>;

export const auditTable = `
  create table audit (id integer primary key, time text not null, what text not null, client text not null, detail text not null);`;

/** The audit's lines in a journal, which only grow. Writing belongs in a transaction of the caller's. */
export function auditIn(database: Database) {
  return {
    write(lines: readonly AuditEntry[]): void {
      for (const { time = new Date().toISOString(), what, client, detail } of lines)
        database.run('insert into audit (time, what, client, detail) values (?, ?, ?, ?)', time, what, client, detail);
    },
    /** Lines behind the one with this number, at most so many. */
    read: (after: number, most: number): readonly (AuditLine & { readonly id: number })[] =>
      database.all('select * from audit where id > ? order by id limit ?', after, most).map((row) => ({
        id: Number(row['id']),
        time: String(row['time']),
        what: String(row['what']),
        client: String(row['client']),
        detail: String(row['detail']),
      })),
  };
}
