import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { openDatabase, type Row } from '../src/federation/database.ts';
import { rdpEpsilon } from '../src/guard/accountant/rdp.ts';
import { deal, readFile, sumsThroughKills, work, writeFederation } from './support/processes.ts';
import { workspace } from './support/workspace.ts';

const rounds = 3;
const names = ['aurora', 'birch', 'cobalt', 'dune'];
const settings = {
  lora: { rank: 2, alpha: 4 },
  methods: [{ use: 'fedit' }],
  guards: [
    { use: 'clip', norm: 0.05 },
    { use: 'privacy', noise: 0.5, delta: 1e-5 },
  ],
  combine: 'secure',
  rounds: { count: rounds },
  train: { batchSize: 4, steps: 2, rate: 1e-3 },
  runtime: { threads: 1 },
  seed: 5,
};

/** Rows of a database that nobody has open any more. */
function rowsOf(path: string, sql: string): readonly Row[] {
  const database = openDatabase(path);
  try {
    return database.all(sql);
  } finally {
    database.close();
  }
}

test(
  'processes that add noise of their own under masks: the server killed in the middle of a sum, a client in the middle of its work, and every round has one vector of each',
  { timeout: 480_000 },
  async () => {
    using folder = workspace();
    deal(folder, names);
    writeFederation(folder, names, settings, { linger: 20 });
    const logs = await sumsThroughKills(folder, names);
    const said = (name: string): string => logs.get(name)!;

    // Nobody trained again for the sum that was cut short, or gave a round anything but its one vector.
    for (const name of names) {
      const sent = work(said(name)).flatMap((task) => (task.sent ? [task.done] : []));
      expect(new Set(sent).size, said(name)).toBe(sent.length);
      const pledges = rowsOf(
        folder.at(name, 'journal.sqlite'),
        `select name, json from records where name like 'pledge %' order by name`,
      );
      expect(pledges.map((row) => row['name'])).toEqual(
        [0, 1, 2].map((round) => `pledge ${JSON.stringify(['fedit', 0, round])}`),
      );
      expect(new Set(pledges.map((row) => row['json'])).size).toBe(rounds);
      expect(said(name)).toContain('with noise of its own');
    }
    expect([...logs.values()].some((text) => (text.match(/round 1: adding up/g) ?? []).length > 1)).toBe(true);

    const journal = folder.at('server', 'journal.sqlite');
    const released = rowsOf(journal, `select json from events where kind = 'release' order by round`);
    const cost = (steps: number): number => rdpEpsilon([{ noise: 0.5, rate: 1, steps }], 1e-5).epsilon;
    expect(released.map(({ json }) => JSON.parse(String(json)) as object)).toEqual(
      [1, 2, 3].map((steps) => ({
        noise: 0.5,
        rate: 1,
        bound: 0.05,
        delta: 1e-5,
        epsilon: expect.closeTo(cost(steps), 9) as number,
        // Of four one may be corrupt, and three make a sum.
        honest: 2,
      })),
    );
    const summary = JSON.parse(readFileSync(folder.at('server', 'summary.json'), 'utf8')) as {
      measured: boolean;
      methods: { privacy: { epsilon: number } }[];
    };
    expect(summary.measured).toBe(false);
    expect(summary.methods[0]!.privacy.epsilon).toBeCloseTo(cost(rounds), 9);
    const lines = readFile(folder.at('server', 'metrics.jsonl'))!.trimEnd().split('\n');
    for (const line of lines) expect(JSON.parse(line)).toMatchObject({ kind: 'round', trainLoss: null, tokens: 0 });
    const store = folder.at('server', 'server', 'server.sqlite');
    const results = rowsOf(store, `select result from tasks where kind = 'train' and result is not null`);
    for (const { result } of results)
      expect(JSON.parse(String(result))).toEqual({
        digest: null,
        weight: null,
        seconds: 0,
        totals: { step: 0, steps: 0, tokens: 0, processed: 0, lossSum: 0 },
      });
  },
);
