import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { openDatabase } from '../../src/federation/database.ts';
import { stream } from '../../src/tensor/random.ts';
import { sizeOf } from '../../src/federation/lost.ts';
import { rows } from './evidence.ts';
import type { Seen } from './seen.ts';

/** What of a dead server's folder is lost, and how. */
export const lossesOf = ['journal', 'record', 'both', 'payloads', 'uploads'] as const;
export const lossesHow = ['deleted', 'file deleted', 'log deleted', 'log cut', 'cut', 'emptied', 'flipped'] as const;

export interface Loss {
  readonly what: (typeof lossesOf)[number];
  readonly how: (typeof lossesHow)[number];
  /** Whether the databases' logs have gone into their files before, as they do in long runs. */
  readonly settled: boolean;
  readonly seed: number;
}

const JOURNAL = 'journal.sqlite';
const RECORD = join('server', 'server.sqlite');

/** Loses it. @param folder the run's, at a server that nobody has open */
export function lose(folder: string, { what, how, settled, seed }: Loss): void {
  if (what === 'payloads' || what === 'uploads') {
    rmSync(join(folder, 'server', what), { recursive: true, force: true });
    return;
  }
  const names = what === 'both' ? [JOURNAL, RECORD] : [what === 'journal' ? JOURNAL : RECORD];
  for (const name of names) {
    const path = join(folder, name);
    if (!existsSync(path)) continue;
    if (settled) openDatabase(path).close();
    loseOne(path, how, seed);
  }
}

function loseOne(path: string, how: Loss['how'], seed: number): void {
  const log = `${path}-wal`;
  const random = stream(seed, 'loss', path.split('/').at(-1)!);
  const cut = (file: string): void => {
    if (existsSync(file)) truncateSync(file, Math.floor(random.uniform() * sizeOf(file)));
  };
  switch (how) {
    case 'deleted':
      rmSync(path);
      rmSync(log, { force: true });
      return;
    case 'file deleted':
      rmSync(path);
      return;
    case 'log deleted':
      rmSync(log, { force: true });
      return;
    case 'log cut':
      cut(log);
      return;
    case 'cut':
      cut(path);
      return;
    case 'emptied':
      truncateSync(path, 0);
      return;
    case 'flipped': {
      const file = sizeOf(log) > sizeOf(path) ? log : path;
      const bytes = readFileSync(file);
      for (let i = 0; i < 1 + random.integer(8); i++) bytes[random.integer(bytes.length)]! ^= 1 << random.integer(8);
      writeFileSync(file, bytes);
    }
  }
}

/** A copy of a folder as it is, to be put back. */
export function keepAside(folder: string, aside: string): void {
  rmSync(aside, { recursive: true, force: true });
  cpSync(folder, aside, { recursive: true });
}

/** Puts a copy in the place of a folder; `only`: of a backup, one of its databases beside what is there. */
export function putBack(aside: string, folder: string, only?: 'journal' | 'record'): void {
  if (only === undefined) {
    rmSync(folder, { recursive: true, force: true });
    mkdirSync(dirname(folder), { recursive: true });
    cpSync(aside, folder, { recursive: true });
    return;
  }
  const name = only === 'journal' ? JOURNAL : RECORD;
  rmSync(join(folder, `${name}-wal`), { force: true });
  cpSync(join(aside, name), join(folder, name));
}

/** How far the harness's own record was at a moment. */
export interface Mark {
  readonly acknowledged: number;
  readonly outcomes: number;
  readonly tasks: readonly string[];
}

export const markOf = (seen: Seen): Mark => ({
  acknowledged: seen.acknowledged.length,
  outcomes: seen.outcomes.length,
  tasks: [...seen.tasks.keys()],
});

/**
 * Forgets what came after a backup: it is undone. What was acknowledged before it was asked for must be in it, and what was between
 * that and its answer is asked of it.
 */
export function rewind(seen: Seen, backup: string, before: Mark, after: Mark): void {
  const received = new Set(
    rows(join(backup, RECORD), 'select id from tasks where result is not null').map((row) => String(row['id'])),
  );
  const between = seen.acknowledged
    .slice(before.acknowledged, after.acknowledged)
    .filter(({ task }) => received.has(task));
  seen.acknowledged.splice(before.acknowledged, Infinity, ...between);
  seen.outcomes.splice(before.outcomes, Infinity);
  const known = new Set(before.tasks);
  for (const id of seen.tasks.keys()) if (!known.has(id)) seen.tasks.delete(id);
}
