import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { openDatabase, type Row } from '../src/federation/database.ts';
import { rdpEpsilon } from '../src/guard/accountant/rdp.ts';
import { fedlora } from './support/cli.ts';
import { deal, endWell, joining, readFile, serving, until, work, writeFederation } from './support/processes.ts';
import { contents, joinArguments, workspace } from './support/workspace.ts';

const rounds = 8;
const names = ['aurora', 'birch', 'cobalt'];

/** Rows of a database that nobody has open any more. */
function rowsOf(path: string, sql: string): readonly Row[] {
  const database = openDatabase(path);
  try {
    return database.all(sql);
  } finally {
    database.close();
  }
}

describe('a private federation of processes', () => {
  test(
    'whose server and a client are killed hard: drawn once, paid for once, and nobody tells what it has',
    { timeout: 480_000 },
    async () => {
      using folder = workspace();
      deal(folder, names);
      const settings = {
        lora: { rank: 2, alpha: 4 },
        methods: [{ use: 'fedit', local: { steps: 2 } }],
        guards: [{ use: 'int8' }, { use: 'clip', norm: 0.05 }, { use: 'privacy', noise: 1, delta: 1e-5 }],
        rounds: { count: rounds, sampling: 'poisson', fraction: 0.9 },
        train: { batchSize: 4, steps: 3, rate: 1e-3 },
        runtime: { threads: 1 },
        seed: 5,
      };
      writeFederation(folder, names, settings, { linger: 20 });
      const log = { text: '' };
      const first = await serving(folder, log, []);
      const { url } = first;
      const dry = await fedlora(['join', ...joinArguments(folder, url, 'birch'), '--dry-run']);
      expect(dry.code, dry.stderr).toBe(0);
      expect(dry.stdout).toContain('beside these: nothing but signs of life');

      const logs = new Map(names.map((name) => [name, { text: '' }]));
      const clients = new Map(names.map((name) => [name, joining(folder, url, name, logs.get(name)!)]));
      const metrics = (): string => readFile(folder.at('server', 'metrics.jsonl')) ?? '';
      await until('a round is committed', () => metrics().includes('"kind":"round"'));
      const status = await fedlora(['admin', 'status', '--json', '--server', url], {
        env: { FEDLORA_ADMIN_TOKEN: readFile(folder.at('server', 'server', 'operators', 'viewer.token'))!.trim() },
      });
      const { stage } = JSON.parse(status.stdout) as { stage: { epsilon: number; committed: number } };
      const costOf = (steps: number): number => rdpEpsilon([{ noise: 1, rate: 0.9, steps }], 1e-5).epsilon;
      if (stage.committed > 0 && stage.committed <= rounds)
        expect(stage.epsilon).toBeCloseTo(costOf(stage.committed), 9);
      first.child.kill('SIGKILL');
      await first.ended;
      clients.get('cobalt')!.child.kill('SIGKILL');
      await clients.get('cobalt')!.ended;
      const again = await serving(folder, log, ['--resume', '--set', `serve.port=${new URL(url).port}`]);
      clients.set('cobalt', joining(folder, url, 'cobalt', logs.get('cobalt')!));
      await endWell(again, clients);

      // Each sample and each noise was drawn once; what was drawn is what took part.
      const journal = folder.at('server', 'journal.sqlite');
      const events = (kind: string): unknown[] =>
        rowsOf(journal, `select json from events where kind = '${kind}' order by stage, round`).map(
          ({ json }) => JSON.parse(String(json)) as unknown,
        );
      const drawn = events('draw') as string[][];
      expect(drawn).toHaveLength(rounds);
      expect(events('release')).toHaveLength(rounds);
      const done = events('round') as { participants: string[]; trainLoss: null; tokens: number }[];
      expect(done.slice(0, rounds).map(({ participants }) => participants)).toEqual(drawn);
      for (const name of names) {
        const sent = work(logs.get(name)!.text).flatMap((task) => (task.sent ? [task.done] : []));
        expect(new Set(sent).size, logs.get(name)!.text).toBe(sent.length);
        // Its personal adapter is at the client, and nowhere else.
        expect(contents(folder.at(name, 'adapters', 'fedit')).size).toBe(2);
      }

      // ε once and the same everywhere, and no count, loss or score.
      const summary = JSON.parse(readFileSync(folder.at('server', 'summary.json'), 'utf8')) as {
        measured: boolean;
        methods: { privacy: { epsilon: number }; stages: { rounds: { epsilon?: number; trainLoss: null }[] }[] }[];
      };
      const [method] = summary.methods;
      expect(summary.measured).toBe(false);
      expect(method!.privacy.epsilon).toBeCloseTo(costOf(rounds), 9);
      expect(method!.stages[0]!.rounds.map(({ epsilon }) => epsilon)).toEqual(
        Array.from({ length: rounds }, (_, k) => expect.closeTo(costOf(k + 1), 9) as number),
      );
      expect(readFileSync(folder.at('server', 'report.html'), 'utf8')).toContain('What the clients’ privacy costs');
      const lines = metrics()
        .trimEnd()
        .split('\n')
        .map((line) => JSON.parse(line) as { kind: string; trainLoss: number | null; tokens: number });
      expect(lines.every(({ kind, trainLoss, tokens }) => kind === 'round' && trainLoss === null && tokens === 0)).toBe(
        true,
      );
      const store = folder.at('server', 'server', 'server.sqlite');
      expect(rowsOf(store, 'select data from clients').map(({ data }) => data)).toEqual(['null', 'null', 'null']);
      for (const { result } of rowsOf(store, `select result from tasks where kind = 'train' and result is not null`)) {
        const { digest: _, ...told } = JSON.parse(String(result)) as object & { digest: unknown };
        expect(told).toEqual({
          weight: 1,
          seconds: 0,
          totals: { step: 0, steps: 0, tokens: 0, processed: 0, lossSum: 0 },
        });
      }
      for (const { result } of rowsOf(store, `select result from tasks where kind = 'evaluate' and result is not null`))
        expect(JSON.parse(String(result))).toEqual({ sums: null });
    },
  );
});
