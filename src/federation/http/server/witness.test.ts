import { copyFileSync, existsSync, mkdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import Libsql from 'libsql';
import { describe, expect, test } from 'vitest';
import { journalIn } from '../../../../tests/support/federation.ts';
import { temporaryFolder } from '../../../../tests/support/temporary.ts';
import { stream } from '../../../tensor/random.ts';
import { tensor } from '../../../tensor/tensors.ts';
import { JournalFailure } from '../../fatal.ts';
import { openJournal } from '../../journal.ts';
import type { Journal } from '../../journal.ts';
import { openStore, type Store } from './store.ts';
import { openWitness, POSITION } from './witness.ts';

const root = temporaryFolder();
const at = { method: 'fedit', stage: 'federated', stageIndex: 0 };
const identity = { run: 'test' };
let folders = 0;

/** A folder with what a run has left after its first round, and the journal and record over it. */
function begun(): { folder: string; journal: Journal; store: Store } {
  const folder = join(root, `w${folders++}`);
  mkdirSync(folder);
  const journal = openJournal({ path: join(folder, 'journal.sqlite'), identity, resume: true });
  const store = openStore(join(folder, 'server.sqlite'), journal);
  store.setMeta('run', 'r');
  store.setTokens([{ name: 'ann', hash: 'a'.repeat(64) }], 1e15);
  store.setKey('ann', 'b'.repeat(64), '1');
  store.setData('ann', { train: 3, validation: 0, test: 0, labelledTokens: 9 });
  const shared = (x: number) => new Map([['x', tensor([3], [x, -x, 1 / x])]]);
  journal.startStage(at, 2, shared(1));
  update(store, journal, 0);
  const costs = { trainLoss: 1.5, tokens: 5, processed: 9, up: 1, down: 2, seconds: 1, clientSeconds: 1 };
  const client = { client: 'ann', tokens: 5, processed: 9, loss: 1.5, up: 1, down: 2, seconds: 1 };
  journal.commitRound(at, { round: 0, participants: ['ann'], leftOut: [], ...costs }, [client], shared(2));
  store.forgetPayloads(at, 0);
  return { folder, journal, store };
}

/** An update of a round, acknowledged. */
function update(store: Store, _: Journal, round: number): void {
  store.offered({ id: `${round}`, client: 'ann', kind: 'train', place: at, round });
  store.finish(`${round}`, { digest: 'd', weight: 3 }, 'd'.repeat(64));
}

/** Everything that the two say, or the error with which they do not open. */
function told(folder: string): unknown {
  const opened: { close(): void }[] = [];
  try {
    const journal = openJournal({ path: join(folder, 'journal.sqlite'), identity, resume: true, begun: true });
    opened.push(journal);
    const before = journal.auditLines();
    const store = openStore(join(folder, 'server.sqlite'), journal);
    opened.push(store);
    const run = [journal.hasStage(at, 2), journal.rounds(at), journal.clients(at, 0), journal.shared(at)];
    const record = [store.clients(), store.task('0'), store.task('1'), store.digests(), store.meta('run')];
    return { run, record, before, chain: journal.auditChain() };
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    return error;
  } finally {
    for (const one of opened.reverse()) one.close();
  }
}

const names = ['journal.sqlite', 'journal.sqlite-wal', 'server.sqlite', 'server.sqlite-wal', POSITION];

/** The files as they are at this moment, as a kill would leave them. */
function snapshot(folder: string): ReadonlyMap<string, Buffer> {
  return new Map(
    names.flatMap((name) =>
      existsSync(join(folder, name)) ? [[name, readFileSync(join(folder, name))] as const] : [],
    ),
  );
}

function laidOut(files: Iterable<readonly [string, Buffer]>): string {
  const folder = join(root, `w${folders++}`);
  mkdirSync(folder);
  for (const [name, bytes] of files) writeFileSync(join(folder, name), bytes);
  return folder;
}

describe('a server that was killed', () => {
  const { folder, journal, store } = begun();
  const first = snapshot(folder);
  journal.noteDraw(at, 1, ['ann']);
  update(store, journal, 1);
  const second = snapshot(folder);
  journal.close();
  store.close();
  const of = (files: ReadonlyMap<string, Buffer>, start: string): [string, Buffer][] =>
    [...files].filter(([name]) => name.startsWith(start));

  test('goes on with what it had, also from a copy of an earlier moment', () => {
    expect(told(laidOut(second))).toMatchObject({ record: [{}, {}, { id: '1', digest: 'd'.repeat(64) }, {}, 'r'] });
    expect(told(laidOut(first))).toMatchObject({ chain: { broken: null } });
    // A backup may have no note of its own.
    expect(told(laidOut([...first].filter(([name]) => name !== POSITION)))).toMatchObject({ chain: { broken: null } });
  });

  test.each([
    ['the journal is of an earlier moment', [...of(first, 'journal'), ...of(second, 's'), ...of(second, POSITION)]],
    ['the record is', [...of(second, 'journal'), ...of(first, 's'), ...of(second, POSITION)]],
    ['both are', [...of(first, 'journal'), ...of(first, 's'), ...of(second, POSITION)]],
    ['the journal has no log', [...second].filter(([name]) => name !== 'journal.sqlite-wal')],
    ['the record has no log', [...second].filter(([name]) => name !== 'server.sqlite-wal')],
    ['the journal is gone', [...second].filter(([name]) => !name.startsWith('journal'))],
    ['the journal is gone, but for its log', [...second].filter(([name]) => name !== 'journal.sqlite')],
    ['the record is gone', [...second].filter(([name]) => !name.startsWith('server'))],
    ['the record is gone, and the note', of(second, 'journal')],
  ] as const)('does not go on where %s, and says what to do', (_, files) => {
    const there = laidOut(files);
    const error = told(there);
    expect(error).toBeInstanceOf(JournalFailure);
    expect(String(error)).toMatch(/does not go on from less: put back what was there, or the latest backup/);
    // Nothing of a log is lost by the refusal.
    for (const [name, bytes] of files)
      if (name.endsWith('-wal') && !files.some(([other]) => `${other}-wal` === name))
        expect(readFileSync(join(there, name)).equals(bytes)).toBe(true);
  });

  test('loses nothing by a log that is cut, or says so', () => {
    const whole = told(laidOut(second));
    const random = stream(3, 'cut');
    for (let i = 0; i < 24; i++) {
      const there = laidOut(second);
      const log = join(there, i % 2 === 0 ? 'journal.sqlite-wal' : 'server.sqlite-wal');
      truncateSync(log, random.integer(readFileSync(log).length));
      const found = told(there);
      if (found instanceof Error) expect(found, String(found)).toBeInstanceOf(JournalFailure);
      else expect(found).toEqual(whole);
    }
  });
});

test('whichever bit of a database is another one, it is refused, or everything is as it was', () => {
  const { folder, journal, store } = begun();
  update(store, journal, 1);
  store.close();
  journal.close();
  const files = snapshot(folder);
  expect([...files.keys()]).toEqual(['journal.sqlite', 'server.sqlite', POSITION]);
  const whole = told(laidOut(files));
  const random = stream(5, 'flips');
  let refused = 0;
  for (const name of ['journal.sqlite', 'server.sqlite'])
    for (let i = 0; i < 60; i++) {
      const there = laidOut(files);
      const bytes = Buffer.from(files.get(name)!);
      // Most of a small database is empty: where something stands.
      const used = [...bytes.keys()].filter((place) => bytes[place] !== 0);
      const place = used[random.integer(used.length)]!;
      bytes[place]! ^= 1 << random.integer(8);
      writeFileSync(join(there, name), bytes);
      const found = told(there);
      if (found instanceof Error) refused++;
      else if (broken(found) === null) expect(found, `${name}, byte ${place}`).toEqual(whole);
    }
  expect(refused).toBeGreaterThan(50);
});

const broken = (found: unknown): number | null => (found as { chain: { broken: number | null } }).chain.broken;

test('who edits the journal by hand is found by the chain, and who links it anew by the note', () => {
  const { folder, journal, store } = begun();
  store.close();
  journal.close();
  const edited = (sql: string): unknown => {
    const there = laidOut(snapshot(folder));
    const database = new Libsql(join(there, 'journal.sqlite'));
    database.exec(sql);
    database.close();
    return told(there);
  };
  expect(broken(edited(`update audit set client = 'ben' where id = 2`))).toBe(2);
  expect(broken(edited('delete from audit where id = 2'))).toBe(3);
  expect(broken(edited(`update audit set time = '' where id = 1`))).toBe(1);
  const anew = `update audit set hash = '${'0'.repeat(64)}'`;
  expect(String(edited(anew))).toMatch(/line \d+ of the journal's audit is another one than it was/);
  expect(String(edited('delete from audit where id > 2'))).toMatch(/the journal's audit ends before line \d+/);
});

test('a record that is not the journal’s is refused', () => {
  const [one, other] = [begun(), begun()];
  for (const { journal, store } of [one, other]) [store, journal].forEach((each) => each.close());
  copyFileSync(join(other.folder, 'server.sqlite'), join(one.folder, 'server.sqlite'));
  rmSync(join(one.folder, POSITION));
  expect(String(told(one.folder))).toContain('is not the record of the journal beside it');
});

test('a note that says nothing is none, and a disk that takes none is told of once a round is done', () => {
  const folder = join(root, `w${folders++}`);
  mkdirSync(folder);
  const journal = journalIn(folder);
  const path = join(folder, POSITION);
  writeFileSync(path, '');
  openStore(join(folder, 'server.sqlite'), journal).close();
  expect(readFileSync(path, 'latin1')).toMatch(/^\{"events":0,"lines":0,"hash":"","writes":1\} \d+ *\n$/);
  journal.close();
  const witness = openWitness(join(folder, 'none', POSITION));
  const noted = { events: 1, lines: 0, hash: '', writes: 1 };
  witness.note(noted);
  expect(() => witness.require(noted)).toThrow(/could not be written: ENOENT/);
});
