import { execFile, spawn } from 'node:child_process';
import { copyFileSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { deal, readFile, serving, until, writeFederation } from './support/processes.ts';
import { contents, embeddedModel, workspace } from './support/workspace.ts';

const root = resolve(import.meta.dirname, '..');
const names = ['aurora', 'birch'];

test('examples/client.ts, compiled beside an installed fedlora, stops on a signal, goes on, and says where its adapter is', async () => {
  using folder = workspace();
  mkdirSync(folder.at('node_modules', '@types'), { recursive: true });
  symlinkSync(root, folder.at('node_modules', 'fedlora'), 'junction');
  symlinkSync(resolve(root, 'node_modules/@types/node'), folder.at('node_modules', '@types', 'node'), 'junction');
  writeFileSync(folder.at('package.json'), '{ "type": "module" }');
  copyFileSync(resolve(root, 'examples/client.ts'), folder.at('client.ts'));
  const tsc = resolve(root, 'node_modules/typescript/bin/tsc');
  const flags = '--strict --skipLibCheck --module nodenext --target es2023 --types node'.split(' ');
  await promisify(execFile)(process.execPath, [tsc, ...flags, 'client.ts'], { cwd: folder.path });

  deal(folder, names);
  const settings = {
    lora: { rank: 2, alpha: 4 },
    methods: [{ use: 'fedit', local: { steps: 2 } }],
    rounds: { count: 3 },
    train: { batchSize: 4, steps: 3 },
  };
  writeFederation(folder, names, settings, { linger: 20 });
  const log = { text: '' };
  const server = await serving(folder, log, []);
  const client = (name: string, withToken = true) => {
    const said = { out: '', err: '' };
    const token = readFile(folder.at('server', 'server', 'tokens', `${name}.token`))?.trim();
    const args = [folder.at('client.js'), server.url, folder.at(`${name}.jsonl`), folder.at(name), embeddedModel];
    const child = spawn(process.execPath, args, {
      env: { ...process.env, ...(withToken && token !== undefined && { FEDLORA_TOKEN: token }) },
    });
    child.stdout.setEncoding('utf8').on('data', (text: string) => (said.out += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (said.err += text));
    const ended = new Promise<number | null>((done) => child.once('close', done));
    return { said, child, ended };
  };
  const first = client('aurora');
  await until('it has joined', () => first.said.out.includes('joined as aurora'));
  first.child.kill('SIGINT');
  expect(await first.ended, first.said.err).toBe(130);
  expect(first.said.err).toContain('stopped; the same call goes on');

  const two = [client('aurora', false), client('birch')];
  for (const { ended, said } of two) expect(await ended, said.err).toBe(0);
  expect((await server.ended).code).toBe(0);
  for (const [i, name] of names.entries()) {
    const adapter = folder.at(name, 'adapters', 'fedit');
    expect(two[i]!.said.out).toContain('federated, round 3\n  sent ');
    expect(two[i]!.said.out).toMatch(/\nfinished: the run is finished\npersonal adapter: /);
    expect(two[i]!.said.out).toContain(`personal adapter: ${adapter}\n`);
    expect(contents(adapter).size).toBe(2);
  }
  expect(two[0]!.said.out).toMatch(/^\d+ own rows to train on; at most \d+ bytes leave this machine in a round\n/);
});
