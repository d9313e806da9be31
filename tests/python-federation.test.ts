import { spawn, type ChildProcess } from 'node:child_process';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { describe, expect, onTestFinished, test } from 'vitest';
import { auditIn } from '../src/federation/audit.ts';
import { openDatabase } from '../src/federation/database.ts';
import { readTensors } from '../src/formats/files/safetensors.ts';
import type { Summary } from '../src/report/summary.ts';
import { getTensor, shapeDifference } from '../src/tensor/tensors.ts';
import { fedlora, start } from './support/cli.ts';
import { embeddedModel, embeddedTasks, joinArguments, workspace, writeConfig } from './support/workspace.ts';

const root = resolve(import.meta.dirname, '..');
const python = process.env['FEDLORA_PYTHON'];
const withPython =
  python === undefined ? ' (needs FEDLORA_PYTHON, a Python with examples/python-client/requirements.txt)' : '';

const names = ['aurora', 'birch', 'cobalt'];
const methods = ['fedit', 'fedlora-optimizer'];
const shared = {
  lora: { rank: 2, alpha: 4 },
  methods: [
    { use: 'fedit', local: { steps: 2 } },
    { use: 'fedlora-optimizer', global: { rounds: 2, rows: 4 }, local: { steps: 2 } },
  ],
  rounds: { count: 2 },
  train: { batchSize: 4, steps: 3, rate: 1e-3 },
  runtime: { threads: 1 },
  seed: 5,
};
const clients = { limit: 24, split: { validation: 2, test: 4 } };
const data = { format: 'jsonl', template: 'chat', maxLength: 96 };

async function until(what: () => string, true_: () => boolean): Promise<void> {
  for (let i = 0; !true_(); i++) {
    if (i > 15_000) throw new Error(`waited too long until ${what()}`);
    await setTimeout(20);
  }
}

interface Running {
  readonly child: ChildProcess;
  log: string;
  readonly ended: Promise<number | null>;
}

const client = resolve(root, 'examples/python-client/fedlora_client.py');
const withCuts = resolve(root, 'tests/support/python_cuts.py');

function inPython(args: readonly string[], env: Readonly<Record<string, string>>, script = withCuts): Running {
  const PYTHONPATH = resolve(root, 'examples/python-client');
  const child = spawn(python!, [script, ...args], {
    env: { ...process.env, ...env, PYTHONPATH, PYTHONDONTWRITEBYTECODE: '1' },
  });
  onTestFinished(() => void child.kill('SIGKILL'));
  const running: Running = { child, log: '', ended: new Promise((done) => child.once('close', done)) };
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => (running.log += text));
  return running;
}

describe.skipIf(python === undefined)(`the Python client and a server that sends without end${withPython}`, () => {
  test('reads no more than an answer may have', { timeout: 120_000 }, async () => {
    using folder = workspace();
    let sent = 0;
    const server = createServer((_request, response) => {
      const piece = Buffer.alloc(2 ** 20, ' ');
      const more = (): void => {
        while (!response.destroyed && response.write(piece)) sent += piece.length;
      };
      response.on('drain', more).on('error', () => {});
      more();
    });
    onTestFinished(() => void server.close());
    await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
    const { port } = server.address() as AddressInfo;
    const hearing = inPython(joinArguments(folder, `http://127.0.0.1:${port}`, 'aurora'), {}, client);
    expect(await hearing.ended).toBe(1);
    expect(hearing.log).toContain("error: the server's answer is longer than the 8,388,608 bytes that any may have");
    expect(sent).toBeLessThan(2 ** 26);
  });
});

describe.skipIf(python === undefined)(`a federation of two TypeScript clients and one in Python${withPython}`, () => {
  test(
    'ends with the simulation’s adapters to a few float32 roundings, though the Python client is killed hard and its uploads are cut',
    { timeout: 600_000 },
    async () => {
      using folder = workspace();
      const lines = readFileSync(embeddedTasks, 'utf8').trimEnd().split('\n');
      const rows = new Map(
        names.map((name) => [name, lines.filter((line) => (JSON.parse(line) as { client: string }).client === name)]),
      );
      // Its draws are its own: with equal rows they are the simulation's all the same.
      rows.set(
        'cobalt',
        Array.from({ length: 24 }, () => rows.get('cobalt')![0]!),
      );
      for (const [name, own] of rows) writeFileSync(folder.at(`${name}.jsonl`), `${own.join('\n')}\n`);
      writeFileSync(folder.at('all.jsonl'), `${[...rows.values()].flat().join('\n')}\n`);
      const model = { path: embeddedModel };
      const simulated = writeConfig(folder.at('run.yaml'), {
        ...shared,
        model,
        data: { ...data, path: folder.at('all.jsonl') },
        clients: { partition: 'column', column: 'client', ...clients },
      });
      const serve = { clients: names, port: 0 };
      const served = writeConfig(folder.at('serve.yaml'), { ...shared, model, data, clients, serve });
      const simulation = await fedlora(['run', simulated, '--out', folder.at('simulation')]);
      expect(simulation.code, simulation.stderr).toBe(0);

      const server = start(['serve', served, '--out', folder.at('server')], { limit: 500_000 });
      let said = '';
      server.child.stderr!.setEncoding('utf8').on('data', (text: string) => (said += text));
      await until(
        () => `the server listens: ${said}`,
        () => /^serving on .*$/m.test(said),
      );
      const url = /^serving on (.*)$/m.exec(said)![1]!;
      const token = (name: string): Readonly<Record<string, string>> => ({
        FEDLORA_TOKEN: readFileSync(folder.at('server', 'server', 'tokens', `${name}.token`), 'utf8').trim(),
      });
      const args = (name: string): string[] => joinArguments(folder, url, name);
      const joined = ['aurora', 'birch'].map(
        (name) => start(['join', ...args(name)], { limit: 500_000, env: token(name) }).ended,
      );
      const dying = inPython(args('cobalt'), { ...token('cobalt'), FEDLORA_DIES: '1' });
      expect(await dying.ended, dying.log).toBe(9);
      expect(dying.log).toContain('fedit · local, round 1: training');
      // Trained, kept, and not yet the client's: the server knows nothing of it.
      expect(existsSync(folder.at('cobalt', 'waiting', 'fedit', 'task.json'))).toBe(true);
      expect(existsSync(folder.at('cobalt', 'adapters', 'fedit'))).toBe(false);
      const first = inPython(args('cobalt'), {});
      await until(
        () => `the second method trains: ${first.log}`,
        () => first.log.includes('fedlora-optimizer · federated, round 1: training') || first.child.exitCode !== null,
      );
      first.child.kill('SIGKILL');
      await first.ended;
      const again = inPython(args('cobalt'), {});
      expect((await server.ended).code, said).toBe(0);
      expect(await again.ended, again.log).toBe(0);
      for (const ended of await Promise.all(joined)) expect(ended.code, ended.stderr).toBe(0);
      expect(again.log).toContain('joined as cobalt');
      // What was kept is told as it is, not trained again.
      expect(first.log + again.log).not.toContain('fedit · local');
      expect(readdirSync(folder.at('cobalt', 'waiting'))).toEqual([]);
      // The server did not know its rows: it said so, and was told again.
      expect(dying.log).toContain('telling the server once more which rows are here');

      const difference = async (ours: string, theirs: string): Promise<number> => {
        const [a, b] = await Promise.all(
          [ours, theirs].map((path) => readTensors(resolve(path, 'adapter_model.safetensors'))),
        );
        expect(shapeDifference(a!, b!)).toBeUndefined();
        const largest = ([name, { data: x }]: readonly [string, { data: Float32Array }]): number =>
          x.reduce((most, value, i) => Math.max(most, Math.abs(value - getTensor(b!, name).data[i]!)), 0);
        return Math.max(...[...a!].map(largest));
      };
      const summary = JSON.parse(readFileSync(folder.at('server', 'summary.json'), 'utf8')) as Summary;
      for (const [i, method] of methods.entries()) {
        const adapters = folder.at('simulation', 'adapters', method);
        expect(
          await difference(resolve(adapters, 'global'), folder.at('server', 'adapters', method, 'global')),
        ).toBeLessThan(1e-4);
        const own = resolve(adapters, 'clients', 'cobalt');
        expect(await difference(own, folder.at('cobalt', 'adapters', method))).toBeLessThan(1e-4);
        const { global, personal } = summary.methods[i]!;
        expect(Object.keys(global.clients)).toEqual(names);
        expect(Object.keys(personal!.clients)).toEqual(names);
      }
      // The audit names what each client was computed by.
      const database = openDatabase(folder.at('server', 'journal.sqlite'));
      const audit = auditIn(database).read(0, 1000);
      database.close();
      const joins = new Map(
        audit.filter(({ what }) => what === 'joined').map(({ client, detail }) => [client, detail]),
      );
      expect(joins.get('cobalt')).toMatch(/Python 3\.\d+\.\d+, torch \d\S+, peft \d\S+/);
      expect(joins.get('birch')).toMatch(/Node v\d+.*, ONNX Runtime \d/);
      // Every round had all three.
      const events = readFileSync(folder.at('server', 'metrics.jsonl'), 'utf8').trimEnd().split('\n');
      const rounds = events
        .map((line) => JSON.parse(line) as { kind: string; clients: number; leftOut: number })
        .filter(({ kind }) => kind === 'round');
      expect(rounds.map(({ clients: there, leftOut }) => [there, leftOut])).toEqual(rounds.map(() => [3, 0]));
      expect(rounds.length).toBeGreaterThan(6);
      for (const where of ['before a request', 'before an answer'])
        expect(dying.log + first.log + again.log).toContain(`cut ${where}`);
    },
  );
});
