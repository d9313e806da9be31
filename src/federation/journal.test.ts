import { readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { temporaryFolder } from '../../tests/support/temporary.ts';
import { UserError } from '../errors.ts';
import { tensor } from '../tensor/tensors.ts';
import type { Tensor, Tensors } from '../tensor/tensor.ts';
import { openDatabase } from './database.ts';
import type { ClientRecord, Place, RoundRecord } from './events.ts';
import { JournalFailure } from './fatal.ts';
import { openJournal, type Journal, type JournalOptions } from './journal.ts';

const folder = temporaryFolder();
let files = 0;
const newPath = (): string => join(folder, `journal-${files++}.sqlite`);
const identity = { configuration: 'c1', data: 'd1', model: 'm1' };
const open = (path: string, more: Partial<JournalOptions> = {}): Journal =>
  openJournal({ path, identity, resume: true, ...more });

const at: Place = { method: 'fedit', stage: 'federated', stageIndex: 0 };
const later: Place = { method: 'fedit', stage: 'local', stageIndex: 1 };
const client = (name: string, more: Partial<ClientRecord> = {}): ClientRecord => ({
  client: name,
  tokens: 5,
  processed: 9,
  loss: 1.25,
  up: 100,
  down: 50,
  seconds: 0.5,
  ...more,
});
const round = (n: number, participants: string[]): RoundRecord => ({
  round: n,
  participants,
  leftOut: [],
  trainLoss: 1.25,
  tokens: 5,
  processed: 9,
  up: 100,
  down: 50,
  seconds: 1,
  clientSeconds: 0.5,
});
const state = (...numbers: number[]): Tensors => new Map([['x', tensor([numbers.length], numbers)]]);
const task = (client: string, n = 0) => ({ ...at, round: n, client });

test('a run that an earlier fedlora named otherwise takes the present name, once', () => {
  const path = newPath();
  open(path, { identity: { ...identity, configuration: 'c0' } }).close();
  expect(() => open(path)).toThrow('its configuration differs');
  const former = { ...identity, configuration: 'c0' };
  expect(() => open(path, { former: { ...former, model: 'm2' } })).toThrow('its configuration differs');
  expect(() => open(path, { former, resume: false })).toThrow('already holds this run');
  const renamed = open(path, { former });
  expect(renamed.auditLines().map(({ what }) => what)).toEqual(['upgraded']);
  renamed.close();
  const again = open(path);
  expect(again.auditLines()).toHaveLength(1);
  again.close();
  expect(() => open(path, { identity: former })).toThrow('its configuration differs');
});

describe('what is committed', () => {
  test('is there again, bit for bit, after opening anew', () => {
    const path = newPath();
    const shared = { factors: state(1, -0, 3.1e-39), step: 7 };
    const first = open(path);
    expect(first.hasStage(at, 3)).toBe(false);
    first.startStage(at, 3, state(0));
    first.keep(task('a'), { count: 1 });
    first.commitRound(at, round(0, ['a']), [client('a'), client('b', { leftOut: 'too slow' })], shared);
    first.record('evaluation', { loss: 2 });
    first.close();
    const second = open(path);
    expect(second.hasStage(at, 3)).toBe(true);
    expect(second.shared(at)).toEqual(shared);
    expect(second.rounds(at)).toEqual([round(0, ['a'])]);
    expect(second.clients(at, 0)).toEqual([client('a'), client('b', { leftOut: 'too slow' })]);
    expect(second.privateState(at, 'a')).toEqual({ count: 1 });
    expect(second.recorded('evaluation')).toEqual({ loss: 2 });
    expect(second.recorded('another')).toBeUndefined();
    second.close();
  });

  test('is kept apart by method and stage', () => {
    const journal = open(newPath());
    const other = { ...at, method: 'local-only' };
    journal.startStage(at, 1, state(1));
    journal.startStage(later, 1, state(2));
    journal.startStage(other, 1, state(3));
    journal.commitRound(later, round(0, ['a']), [client('a')]);
    expect([journal.shared(at), journal.shared(later), journal.shared(other)]).toEqual([state(1), state(2), state(3)]);
    expect([at, later, other].map((place) => journal.rounds(place).length)).toEqual([0, 1, 0]);
    journal.close();
  });

  test('traffic adds up over rounds', () => {
    const journal = open(newPath());
    journal.commitRound(at, round(0, ['a']), [client('a'), client('b', { up: 0 })]);
    journal.commitRound(at, round(1, ['a']), [client('a')]);
    expect([...journal.traffic(at)]).toEqual([
      ['a', { up: 200, down: 100 }],
      ['b', { up: 0, down: 50 }],
    ]);
    journal.close();
  });

  test('a state larger than a part is put together again', () => {
    const journal = open(newPath());
    const data = Float32Array.from({ length: 17 * 2 ** 20 }, (_, i) => i);
    journal.startStage(at, 1, { x: { shape: [data.length], data } });
    const { x } = journal.shared(at) as { readonly x: Tensor };
    expect(Buffer.compare(Buffer.from(x.data.buffer), Buffer.from(data.buffer))).toBe(0);
    journal.close();
  });
});

describe('private states', () => {
  test('move only when the update is accepted', () => {
    const journal = open(newPath());
    journal.keep(task('a'), { count: 1 });
    journal.keep(task('b'), { count: 1 });
    expect(journal.privateState(at, 'a')).toBeUndefined();
    const refused = { ...round(0, ['a']), leftOut: [{ client: 'b', reason: 'NaN' }] };
    journal.commitRound(at, refused, [client('a'), client('b', { leftOut: 'NaN' })], state(1));
    expect(journal.privateState(at, 'a')).toEqual({ count: 1 });
    expect(journal.privateState(at, 'b')).toBeUndefined();
    // What was kept for a refused update is gone: a later round cannot adopt it.
    journal.commitRound(at, round(1, ['b']), [client('b')], state(2));
    expect(journal.privateState(at, 'b')).toBeUndefined();
    journal.close();
  });

  test('kept in a round that never ended are not adopted by the round that takes its place', () => {
    const path = newPath();
    const first = open(path);
    first.keep(task('a'), { from: 'the first try' });
    first.close();
    const second = open(path);
    second.keep(task('a'), { from: 'the second try' });
    second.commitRound(at, round(0, ['a']), [client('a')], state(1));
    expect(second.privateState(at, 'a')).toEqual({ from: 'the second try' });
    second.close();
  });

  test('come from the latest stage up to the one asked for', () => {
    const journal = open(newPath());
    journal.keep(task('a'), { stage: 0 });
    journal.commitRound(at, round(0, ['a']), [client('a')], state(1));
    expect(journal.privateState(later, 'a')).toEqual({ stage: 0 });
    journal.keep({ ...later, round: 0, client: 'a' }, { stage: 1 });
    journal.commitClient(later, 0, client('a'));
    expect(journal.privateState(later, 'a')).toEqual({ stage: 1 });
    expect(journal.privateState(at, 'a')).toEqual({ stage: 0 });
    journal.close();
  });

  test('null or {} is nothing, and hides an earlier stage’s', () => {
    const journal = open(newPath());
    journal.keep(task('a'), { stage: 0 });
    journal.commitRound(at, round(0, ['a']), [client('a')], state(1));
    for (const nothing of [null, {}]) {
      journal.keep({ ...later, round: 0, client: 'a' }, nothing);
      journal.commitClient(later, 0, client('a'));
      expect(journal.privateState(later, 'a')).toBeUndefined();
    }
    journal.close();
  });
});

describe('a journal of another run is refused', () => {
  test('naming what differs', () => {
    const path = newPath();
    open(path).close();
    const other = { ...identity, data: 'd2', model: 'm2' };
    expect(() => open(path, { identity: other })).toThrow(
      new UserError(
        `${path} belongs to another run: its data and model differ from this run's. ` +
          'Choose another output folder, or give exactly what that run was started with.',
      ),
    );
    expect(() => open(path, { identity: { configuration: 'c1', data: 'd1' } })).toThrow('its model differs from');
    open(path).close();
  });

  test('unless resuming is asked for', () => {
    const path = newPath();
    open(path, { resume: false }).close();
    expect(() => open(path, { resume: false })).toThrow(
      new UserError(`${path} already holds this run. Go on with --resume, or choose another output folder.`),
    );
  });

  test('and so are stages of other names or rounds', () => {
    const path = newPath();
    const journal = open(path);
    journal.startStage(at, 3, state(1));
    expect(() => journal.hasStage(at, 4)).toThrow(
      /stage 1 of fedit was “federated” with 3 round\(s\), and now is “federated” with 4/,
    );
    expect(() => journal.hasStage({ ...at, stage: 'global' }, 3)).toThrow(UserError);
    journal.close();
  });

  test('and one that another process has open', () => {
    const path = newPath();
    const journal = open(path);
    expect(() => open(path)).toThrow(
      new UserError(`${path} is in use by another process. Wait for it, or choose another output folder.`),
    );
    journal.close();
    open(path).close();
  });
});

describe('a damaged or full disk', () => {
  test('a file that is no database', () => {
    const path = newPath();
    writeFileSync(path, 'nothing of the kind\n'.repeat(500));
    expect(() => open(path)).toThrow(JournalFailure);
    expect(() => open(path)).toThrow(/is damaged \(file is not a database\).*restore the file .*or start anew/);
  });

  test('a torn file', () => {
    const path = newPath();
    const journal = open(path);
    journal.startStage(at, 1, state(...Array.from({ length: 50_000 }, (_, i) => i)));
    journal.close();
    truncateSync(path, Math.floor(readFileSync(path).length / 2 / 16384) * 16384);
    expect(() => {
      open(path).shared(at);
    }).toThrow(JournalFailure);
    expect(() => open(path).shared(at)).toThrow(/is damaged/);
  });

  test('a write that finds no room leaves everything before it, and says so', () => {
    const path = newPath();
    const small = (file: string) => {
      const database = openDatabase(file);
      // SQLite's own limit stands in for the disk's: the same error, at the same place.
      database.exec('pragma max_page_count = 40');
      return database;
    };
    const journal = open(path, { open: small });
    journal.startStage(at, 2, state(1));
    journal.commitRound(at, round(0, ['a']), [client('a')], state(2));
    const large: Tensors = new Map([['x', tensor([300_000], new Float32Array(300_000))]]);
    expect(() => journal.commitRound(at, round(1, ['a']), [client('a')], large)).toThrow(JournalFailure);
    expect(() => journal.commitRound(at, round(1, ['a']), [client('a')], large)).toThrow(
      /cannot be written: .*full.*Every round that was committed before is kept; --resume goes on from there/,
    );
    expect(journal.rounds(at)).toHaveLength(1);
    journal.close();
    const again = open(path);
    expect(again.shared(at)).toEqual(state(2));
    again.commitRound(at, round(1, ['a']), [client('a')], large);
    expect(again.rounds(at)).toHaveLength(2);
    again.close();
  });

  test('a folder that is not there', () => {
    expect(() => open(join(folder, 'missing', 'journal.sqlite'))).toThrow(/Unable to open connection/);
  });
});
