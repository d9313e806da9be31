import { copyFileSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import Libsql from 'libsql';
import { expect, test } from 'vitest';
import { finished, journalIn, run } from '../../../tests/support/federation.ts';
import { federationTools, names, rounds, stages, three, workerOf } from '../../../tests/support/served.ts';
import { encodeState } from '../../tensor/encode.ts';
import { takePart } from './client/take-part.ts';

const tools = federationTools();
const hex = (state: Parameters<typeof encodeState>[0]): string => Buffer.from(encodeState(state)).toString('hex');
const fixtures = (version: 1 | 2): string => resolve(import.meta.dirname, `../../../tests/fixtures/schema-${version}`);

/** A database of an earlier version, from what one held: the first was written before there were versions, the second is its upgrade. */
function restored(version: 1 | 2, name: string, path: string): void {
  const database = new Libsql(path);
  database.exec(readFileSync(join(fixtures(version), `${name}.sql`), 'utf8'));
  database.close();
}

function folderOf(version: 1 | 2): string {
  const folder = tools.folder();
  for (const name of ['server', ...names]) mkdirSync(join(folder, name));
  restored(version, 'journal', join(folder, 'journal.sqlite'));
  restored(version, 'server', join(folder, 'server', 'server.sqlite'));
  for (const name of names) restored(version, name, join(folder, name, 'journal.sqlite'));
  return folder;
}

const read = (path: string, sql: string): readonly unknown[] => {
  const database = new Libsql(path, { readonly: true });
  try {
    return database.prepare(sql).all();
  } finally {
    database.close();
  }
};

test.each([1, 2] as const)(
  'a run that a server of version %i had begun goes on, with its clients’ keys, and ends with the same bits',
  async (version) => {
    const { result } = await finished(run(journalIn(tools.folder()), { stages: stages(), clients: three }));
    const folder = folderOf(version);
    const keys = JSON.parse(readFileSync(join(fixtures(version), 'keys.json'), 'utf8')) as Record<string, string>;
    const served = await tools.serve(folder);
    expect(served.server.run).toBe('0542a58dbcbc4506debc4630238437b2');
    const clients = names.map(async (name) => {
      const state = await tools.state(served.server, folder, name);
      const api = tools.api(served.server.url, keys[name]);
      const part = takePart({ api, state, worker: workerOf(name), signal: tools.signal, beat: 0.05 });
      let tasks = 0;
      for (;;) {
        const next = await part.next();
        if (next.done) return tasks;
        if (next.value.kind === 'task') tasks++;
      }
    });
    const there = await finished(rounds(served));
    await served.server.end({ how: 'finished', why: '' }, 20);
    // One round was done before.
    expect(await Promise.all(clients)).toEqual([4, 4, 4]);
    expect(there.result.stages.map(({ shared }) => hex(shared))).toEqual(
      result.stages.map(({ shared }) => hex(shared)),
    );

    // The audit's lines are in the journal, with their times, each with the hash of the one before; what was there is beside it, as it was.
    const lines = served.journal.auditLines();
    const home = version === 1 ? join('server', 'server.sqlite.v1') : 'journal.sqlite.v2';
    const before = read(join(folder, home), 'select time, what, client from audit order by id');
    expect(before.length).toBeGreaterThan(9);
    expect(lines.slice(0, before.length).map(({ time, what, client }) => ({ time, what, client }))).toEqual(before);
    expect(lines.filter(({ what }) => what === 'upgraded')).toHaveLength(1);
    expect(served.journal.auditChain()).toEqual({ lines: lines.length, newest: lines.at(-1)!.hash, broken: null });
    await served.close();
    for (const name of [join('server', 'server.sqlite'), 'journal.sqlite']) {
      expect(read(join(folder, name), 'pragma user_version')).toEqual([{ user_version: 3 }]);
      const then = version === 1 ? 0 : 2;
      expect(read(join(folder, `${name}.v${version}`), 'pragma user_version')).toEqual([{ user_version: then }]);
    }
    expect(read(join(folder, `journal.sqlite.v${version}`), 'select count(*) as n from events')).toEqual([{ n: 5 }]);
  },
);

test('a kill between the two files of an upgrade takes no line twice', async () => {
  const folder = folderOf(1);
  await (await tools.serve(folder)).close();
  // The server's record as it was before, the journal as it is now, and nothing yet of what comes after.
  const path = join(folder, 'server', 'server.sqlite');
  copyFileSync(`${path}.v1`, path);
  rmSync(join(folder, 'server', 'position'));
  const database = new Libsql(join(folder, 'journal.sqlite'));
  database.exec(`delete from records where name = 'record'`);
  database.close();
  const before = read(path, 'select time, what, client from audit order by id');
  const again = await tools.serve(folder);
  const moved = again.journal.auditLines().map(({ time, what, client }) => ({ time, what, client }));
  for (const line of before) expect(moved.filter((one) => isDeepStrictEqual(one, line))).toHaveLength(1);
});

test('what a newer fedlora wrote is refused in a sentence, and left as it is', async () => {
  for (const name of [join('server', 'server.sqlite'), 'journal.sqlite']) {
    const folder = folderOf(1);
    const path = join(folder, name);
    const database = new Libsql(path);
    database.exec('pragma user_version = 9');
    database.close();
    const bytes = readFileSync(path);
    await expect(tools.serve(folder)).rejects.toThrow(
      'was written by a newer fedlora (version 9 of its tables, and this one knows 3)',
    );
    // Tables and rows, whatever SQLite notes in its header when it opens a file.
    expect(readFileSync(path).subarray(100)).toEqual(bytes.subarray(100));
  }
});
