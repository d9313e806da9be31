import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { temporaryFolder } from '../../tests/support/temporary.ts';
import type { Evidence } from './evidence.ts';
import { listen, loseOwn, pretended, type Bereft } from './bereft.ts';
import { planOf, seedOf } from './plan.ts';
import { nothingSeen, type Seen } from './seen.ts';
import type { SettingName } from './settings.ts';

const root = temporaryFolder();
const totals = { step: 1, steps: 1, tokens: 1, processed: 1, lossSum: 1 };
const message = { digest: null, weight: 1, seconds: 1, totals };
const acknowledged = (task: string) => ({ client: 'aurora', task, message });

/** Rounds 1 and 2 of a stage, in which the client counts where it is said. */
const evidence = (stage: string, ...rounds: number[]): Evidence =>
  ({
    tasks: [0, 1].map((round) => ({
      id: `t${round}`,
      client: 'aurora',
      place: { method: 'm', stage, stageIndex: 0 },
      round,
      message,
    })),
    rounds: () => [0, 1].map((round) => ({ round, participants: rounds.includes(round) ? ['aurora'] : [] })),
  }) as unknown as Evidence;

test('a folder loses what it is to lose, and the harness knows what it had sent before', () => {
  for (const what of ['all', 'journal', 'payloads'] as const) {
    const folder = join(root, what);
    mkdirSync(join(folder, 'payloads'), { recursive: true });
    for (const name of ['key.json', 'journal.sqlite', 'journal.sqlite-wal', 'payloads/one'])
      writeFileSync(join(folder, name), '');
    const seen: Seen = {
      ...nothingSeen(),
      sent: new Map([['t0', [{ client: 'aurora', message }]]]),
      acknowledged: [acknowledged('t0'), { ...acknowledged('t0'), client: 'birch' }],
    };
    const at = { on: 'update', nth: 1, when: 'after', later: 0 } as const;
    const bereft = loseOwn(folder, { kind: 'folder lost', who: 'aurora', at, down: 0, what }, seen);
    expect(['key.json', 'journal.sqlite-wal', 'payloads'].map((name) => existsSync(join(folder, name)))).toEqual(
      { all: [false, false, false], journal: [true, false, true], payloads: [true, true, false] }[what],
    );
    expect([bereft.before, [...bereft.sent]]).toEqual([[acknowledged('t0')], ['t0']]);
    listen(bereft, 'fedit · federated, round 2: training\n');
    expect([bereft.worked, bereft.refused]).toEqual([true, false]);
    listen(bereft, 'error: … is not in x: …, or go on without with --start-again: …');
    expect(bereft.refused).toBe(true);
  }
});

test('a client that goes on without a word of what it has lost is found, and one that complains of nothing', () => {
  const found = (
    setting: SettingName,
    stage: string,
    rounds: number[],
    parts: Partial<Bereft>,
    after: string[] = [],
  ): string[] => {
    const before = [acknowledged('t0')];
    const bereft = {
      client: 'aurora',
      what: 'all',
      before,
      keyless: false,
      sent: new Set(['t0']),
      refused: false,
      worked: true,
      ...parts,
    } as const;
    const seen = { ...nothingSeen(), acknowledged: [...bereft.before, ...after.map(acknowledged)] };
    return pretended(bereft, evidence(stage, ...rounds), seen, { setting });
  };
  expect(found('sparse', 'federated', [0, 1], {})).toEqual([
    'aurora has lost its private state, and went on without a word',
  ]);
  expect(found('sparse', 'federated', [0, 1], { refused: true }, ['t1'])).toEqual([]);
  // It never came back, or had nothing of its own: that no round counted, or that the method does not keep.
  expect(found('sparse', 'federated', [0], { worked: false })).toEqual([]);
  expect(found('sparse', 'federated', [], {})).toEqual([]);
  expect(found('stacked', 'federated', [0, 1], {}, ['t1'])).toEqual([]);
  expect(found('fedit', 'local', [0], {})).toHaveLength(1);
  expect(found('scaffold', 'federated', [0, 1], { refused: true }, ['t1'])).toEqual([
    'aurora counts after it has lost its private state, which the server’s follows from',
  ]);
  expect(found('scaffold', 'federated', [0], { refused: true }, ['t1'])).toEqual([]);
  expect(found('stacked', 'federated', [], { refused: true, before: [] })).toEqual([
    'aurora says that it has lost what it never had',
  ]);
  expect(found('sparse', 'federated', [0, 1], { what: 'payloads' }, ['t1'])).toEqual([]);
  expect(pretended(undefined, evidence('federated'), nothingSeen(), { setting: 'sparse' })).toEqual([]);
});

test('folders of clients are lost in plans of one run, with nothing that nobody could mend beside it', () => {
  const many = Array.from({ length: 600 }, (_, k) => planOf(seedOf(3, k))).filter(
    ({ faults }) => faults[0]!.kind === 'folder lost',
  );
  expect(many.length).toBeGreaterThan(30);
  for (const { runs, faults } of many) {
    expect(runs).toHaveLength(1);
    const kinds = faults.map(({ kind }) => kind);
    for (const never of ['full disk', 'damaged on disk', 'files lost', 'backup restored'] as const)
      expect(kinds).not.toContain(never);
  }
});
