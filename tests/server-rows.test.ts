import { readFileSync, renameSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { fedlora } from './support/cli.ts';
import { deal, endWell, joining, readFile, serving, until, writeFederation } from './support/processes.ts';
import { contents, joinArguments, workspace } from './support/workspace.ts';

const names = ['aurora', 'birch'];
const shared = {
  lora: { rank: 2, alpha: 4 },
  methods: [
    { use: 'fedit', local: { steps: 2 }, optimizerState: 'keep' },
    { use: 'fedlora-optimizer', globalData: 'proxy', global: { rounds: 12, rows: 'all' }, local: { steps: 2 } },
  ],
  // What was held back is the private state of the server's own participant too.
  guards: [
    { use: 'top-k', share: 0.25 },
    { use: 'clip', norm: 0.02 },
  ],
  rounds: { count: 2 },
  evaluate: { every: 0 },
  // Clients and the server's thread have to know how far the rounds have come.
  train: { batchSize: 4, steps: 3, rate: 1e-3, overRounds: 'linear' },
  runtime: { threads: 1 },
  seed: 5,
};

describe('a server with rows of its own', () => {
  test(
    'ends with the simulation’s adapters bit for bit, though it is killed hard in the middle of its own tasks',
    { timeout: 480_000 },
    async () => {
      using folder = workspace();
      // A third file of rows, which is the server's.
      deal(folder, ['cobalt']);
      renameSync(folder.at('cobalt.jsonl'), folder.at('public.jsonl'));
      deal(folder, names);
      const proxy = { path: folder.at('public.jsonl') };
      const simulated = writeFederation(folder, names, shared, {}, { proxy });
      const simulation = await fedlora(['run', simulated, '--out', folder.at('simulation')]);
      expect(simulation.code, simulation.stderr).toBe(0);

      const log = { text: '' };
      let server = await serving(folder, log, []);
      const { url } = server;
      const again = async (dead: () => void = () => undefined): Promise<void> => {
        server.child.kill('SIGKILL');
        await server.ended;
        dead();
        server = await serving(folder, log, ['--resume', '--set', `serve.port=${new URL(url).port}`]);
      };
      const dry = await fedlora(['join', ...joinArguments(folder, url, 'birch'), '--dry-run']);
      expect(dry.code, dry.stderr).toBe(0);
      expect(dry.stdout).toContain('the server takes part in rounds that combine updates, as one more participant');
      expect(dry.stdout).toContain('fedlora-optimizer · global: 12 round(s) at the server, on rows of its own');
      const told = await (await fetch(new URL('/v1/run', url))).text();
      expect(JSON.parse(told)).toMatchObject({ serverRows: true });
      expect(told).not.toContain('public.jsonl');

      const logs = new Map(names.map((name) => [name, { text: '' }]));
      const clients = new Map(names.map((name) => [name, joining(folder, url, name, logs.get(name)!)]));
      const metrics = (): string => readFile(folder.at('server', 'metrics.jsonl')) ?? '';
      const rounds = (method: string, stage: string): number =>
        metrics()
          .split('\n')
          .filter((line) => line.includes('"kind":"round"') && line.includes(`"${method}"`))
          .filter((line) => line.includes(`"${stage}"`)).length;

      // It trains beside its clients; then it trains alone, and nobody else has anything to do.
      await until('the second round is under way', () => logs.get('birch')!.text.includes('round 2: training'));
      await again();
      await until('the server has begun by itself', () => rounds('fedlora-optimizer', 'global') > 0);
      await again(() => expect(rounds('fedlora-optimizer', 'global')).toBeLessThan(12));

      await endWell(server, clients);
      for (const method of ['fedit', 'fedlora-optimizer']) {
        const global = contents(folder.at('simulation', 'adapters', method, 'global'));
        expect(contents(folder.at('server', 'adapters', method, 'global'))).toEqual(global);
        for (const name of names) {
          const own = contents(folder.at('simulation', 'adapters', method, 'clients', name));
          expect(contents(folder.at(name, 'adapters', method)), `${method} of ${name}`).toEqual(own);
        }
      }
      const facts = (out: string): unknown => {
        const { methods } = JSON.parse(readFileSync(folder.at(out, 'summary.json'), 'utf8')) as {
          methods: { labelledTokens: number; global: object; stages: { rounds: { clients: string[] }[] }[] }[];
        };
        return methods.map(({ labelledTokens, global, stages }) => [
          labelledTokens,
          global,
          stages.map(({ rounds: list }) => list.map((round) => round.clients)),
        ]);
      };
      expect(facts('server')).toEqual(facts('simulation'));
      expect(JSON.stringify(facts('server'))).toContain('[["aurora","birch","proxy"],["aurora","birch","proxy"]]');
    },
  );
});
