import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { fedlora } from './support/cli.ts';
import { deal, endWell, joining, readFile, serving, until, work, writeFederation } from './support/processes.ts';
import { contents, joinArguments, workspace } from './support/workspace.ts';

const names = ['aurora', 'birch', 'cobalt'];
const shared = {
  lora: { rank: 2, alpha: 4 },
  methods: [
    { use: 'fedit', local: { steps: 2 } },
    { use: 'fedlora-optimizer', global: { rounds: 2, rows: 4 }, local: { steps: 2 }, optimizerState: 'keep' },
  ],
  // Clients send a quarter of their numbers and keep the rest for later; then they clip, the global gradients too.
  guards: [
    { use: 'top-k', share: 0.25 },
    { use: 'clip', norm: 0.02 },
  ],
  rounds: { count: 2 },
  train: { batchSize: 4, steps: 3, rate: 1e-3 },
  runtime: { threads: 1 },
  seed: 5,
};

describe('a federation of processes', () => {
  test(
    'ends with the simulation’s adapters bit for bit, though the server and a client are killed hard on the way',
    { timeout: 480_000 },
    async () => {
      using folder = workspace();
      deal(folder, names);
      const simulated = writeFederation(folder, names, shared);
      const simulation = await fedlora(['run', simulated, '--out', folder.at('simulation')]);
      expect(simulation.code, simulation.stderr).toBe(0);

      const log = { text: '' };
      const first = await serving(folder, log, []);
      const { url } = first;
      const home = join('server', 'server');
      const token = (kind: string, name: string): string =>
        readFileSync(folder.at(home, kind, `${name}.token`), 'utf8').trim();
      const tokens = [
        ...names.map((name) => token('tokens', name)),
        ...['admin', 'viewer'].map((role) => token('operators', role)),
      ];
      const dry = await fedlora(['join', ...joinArguments(folder, url, 'birch'), '--dry-run']);
      expect(dry.code, dry.stderr).toBe(0);
      expect(dry.stdout).toContain(
        'own data: 18 rows to train on, 2 to validate, 4 to test; 176 left out (over the limit per client); ' +
          'at least 3 are needed, one or more to train on, to validate, to test',
      );
      expect(dry.stdout).toContain('fedlora-optimizer · local: up to 1 round(s), sends no tensors');

      const logs = new Map(names.map((name) => [name, { text: '' }]));
      const clients = new Map(names.map((name) => [name, joining(folder, url, name, logs.get(name)!)]));
      const metrics = (): string => readFile(folder.at('server', 'metrics.jsonl')) ?? '';

      // The server dies when the second round of the first method has begun.
      await until('a round is committed', () => metrics().includes('"kind":"round"'));
      await until('the next one is under way', () => logs.get('birch')!.text.includes('round 2: training'));
      first.child.kill('SIGKILL');
      await first.ended;
      const again = await serving(folder, log, ['--resume', '--set', `serve.port=${new URL(url).port}`]);

      // A client dies in the middle of the second method, and comes back without its token.
      await until('the second method trains', () =>
        logs.get('cobalt')!.text.includes('fedlora-optimizer · federated, round 1: training'),
      );
      clients.get('cobalt')!.child.kill('SIGKILL');
      await clients.get('cobalt')!.ended;
      clients.set('cobalt', joining(folder, url, 'cobalt', logs.get('cobalt')!));

      await endWell(again, clients);

      for (const method of ['fedit', 'fedlora-optimizer']) {
        const global = contents(folder.at('simulation', 'adapters', method, 'global'));
        expect(contents(folder.at('server', 'adapters', method, 'global'))).toEqual(global);
        for (const name of names) {
          const own = contents(folder.at('simulation', 'adapters', method, 'clients', name));
          expect(own.size).toBe(2);
          expect(contents(folder.at(name, 'adapters', method)), `${method} of ${name}`).toEqual(own);
        }
      }
      // Two rounds and a local one; two rounds, two global ones and a local one: nobody does again what was acknowledged.
      for (const name of names) {
        const tasks = work(logs.get(name)!.text);
        const sent = tasks.filter((task) => task.sent).map(({ done }) => done);
        expect(new Set(sent).size, logs.get(name)!.text).toBe(sent.length);
        for (const [i, { done, sent: before }] of tasks.entries())
          if (before) expect(tasks.slice(i + 1).map((task) => task.done)).not.toContain(done);
        expect(new Set(tasks.map(({ done }) => done)).size).toBe(3 + 5);
      }
      // Personal adapters are nowhere at the server.
      expect([...contents(folder.at('server', 'adapters')).keys()].filter((path) => path.includes('clients'))).toEqual(
        [],
      );

      // Tokens and keys are in files of their own, and in nothing that anybody logs, reports, journals or records.
      const keys = names.map(
        (name) => (JSON.parse(readFileSync(folder.at(name, 'key.json'), 'utf8')) as { key: string }).key,
      );
      const lives = await Promise.all([first, again, ...clients.values()].map(({ ended }) => ended));
      const said = [
        ...lives.flatMap(({ stdout, stderr }) => [stdout, stderr]),
        ...[...logs.values()].map(({ text }) => text),
      ];
      const kept = [...contents(folder.at('server'))].filter(([path]) => !path.startsWith(join('server', 'operators')));
      const told = [...said.map((text): [string, Buffer] => ['a log', Buffer.from(text)]), ...kept];
      for (const name of ['metrics.jsonl', 'report.html', 'journal.sqlite', join('server', 'server.sqlite')])
        expect(kept.map(([path]) => path)).toContain(name);
      expect(new Set([...tokens, ...keys]).size).toBe(8);
      for (const secret of [...tokens, ...keys])
        expect(told.flatMap(([path, bytes]) => (bytes.includes(secret) ? [path] : []))).toEqual([]);

      const scores = (out: string): unknown => {
        const { methods } = JSON.parse(readFileSync(folder.at(out, 'summary.json'), 'utf8')) as {
          methods: { global: { clients: object }; personal: { clients: object } }[];
        };
        return methods.map(({ global, personal }) => [global.clients, personal.clients]);
      };
      expect(scores('server')).toEqual(scores('simulation'));
    },
  );
});
