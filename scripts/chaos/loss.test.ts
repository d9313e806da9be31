import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { openDatabase } from '../../src/federation/database.ts';
import { temporaryFolder } from '../../tests/support/temporary.ts';
import { markOf, rewind } from './loss.ts';
import { planOf, seedOf } from './plan.ts';
import { nothingSeen, type Seen } from './seen.ts';
import { seedsOf } from './series.ts';
import { settings, type SettingName } from './settings.ts';

const folder = temporaryFolder();

test('a plan that loses files or restores a backup comes with nothing that this undoes', () => {
  const many = Array.from({ length: 600 }, (_, k) => planOf(seedOf(3, k)));
  for (const [kind, ...never] of [
    ['files lost', 'full disk', 'backup restored'],
    ['backup restored', 'full disk', 'strangers', 'bad client', 'files lost'],
  ] as const) {
    const some = many.filter(({ faults }) => faults.some((fault) => fault.kind === kind));
    expect(some.length).toBeGreaterThan(30);
    for (const { runs, faults } of some) {
      expect(runs).toHaveLength(1);
      expect(faults[0]!.kind).toBe(kind);
      expect(faults.filter((fault) => (never as readonly string[]).includes(fault.kind))).toEqual([]);
    }
  }
  const kinds = Object.keys(settings) as SettingName[];
  const seeds = seedsOf(3, { from: 0, count: 100, kinds, faults: ['files lost'] });
  expect(seeds.length).toBeGreaterThan(4);
  for (const seed of seeds) expect(planOf(seed).faults[0]!.kind).toBe('files lost');
});

test('a backup undoes what came after it, and nothing that was acknowledged before it was asked for', () => {
  mkdirSync(join(folder, 'server'));
  const database = openDatabase(join(folder, 'server', 'server.sqlite'));
  database.exec(
    `create table tasks (id text, result text); insert into tasks values ('a', '{}'), ('b', '{}'), ('c', null)`,
  );
  database.close();
  const one = (task: string) => ({ client: 'aurora', task, message: undefined as never });
  const heard = (task: string) => ({ client: 'aurora', task, outcome: 'accepted' as const });
  const seen: Seen = { ...nothingSeen(), acknowledged: [one('x')], outcomes: [heard('x')] };
  const before = markOf(seen);
  seen.acknowledged.push(one('b'), one('c'));
  const after = markOf(seen);
  seen.acknowledged.push(one('a'));
  seen.outcomes.push(heard('b'));
  rewind(seen, folder, before, after);
  // What was before is left for the check, also where the backup does not have it.
  expect(seen.acknowledged.map(({ task }) => task)).toEqual(['x', 'b']);
  expect(seen.outcomes).toEqual([heard('x')]);
});
