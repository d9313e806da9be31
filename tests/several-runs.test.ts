import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { setTimeout } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { fedlora, start, type Started } from './support/cli.ts';
import { contents, embeddedModel, embeddedTasks, smallConfig, workspace, writeConfig } from './support/workspace.ts';

const { path: _, ...format } = smallConfig.data;
const split = { limit: 12, split: { validation: 1, test: 2 } };
const runs = { one: { seed: 5 }, two: { seed: 6 } };
const client = 'aurora';

async function until(what: string, true_: () => boolean): Promise<void> {
  for (let i = 0; !true_(); i++) {
    if (i > 6000) throw new Error(`waited too long until ${what}`);
    await setTimeout(20);
  }
}

test(
  'a server of two runs is killed hard and goes on with both: each ends with its simulation’s adapters',
  { timeout: 400_000 },
  async () => {
    using folder = workspace();
    const own = readFileSync(embeddedTasks, 'utf8')
      .split('\n')
      .filter((line) => line !== '' && (JSON.parse(line) as { client: string }).client === client);
    writeFileSync(folder.at('rows.jsonl'), own.join('\n'));
    const shared = {
      model: { path: embeddedModel },
      lora: { rank: 2, alpha: 4 },
      methods: [{ use: 'fedit' }],
      rounds: { count: 6 },
      train: { batchSize: 4, steps: 2, rate: 1e-3 },
      runtime: { threads: 1 },
    };
    const simulations = Object.entries(runs).map(([name, more]) => {
      const data = { ...format, path: folder.at('rows.jsonl') };
      const clients = { partition: 'column', column: 'client', ...split };
      const file = writeConfig(folder.at(`${name}-simulated.yaml`), { ...shared, ...more, data, clients });
      writeConfig(folder.at(`${name}.yaml`), {
        ...shared,
        ...more,
        data: format,
        clients: split,
        serve: { clients: [client], port: 0 },
      });
      return fedlora(['run', file, '--out', folder.at('simulated', name)]);
    });

    const serving = async (...args: string[]): Promise<Started & { readonly url: string }> => {
      const files = Object.keys(runs).map((name) => folder.at(`${name}.yaml`));
      const started = start(['serve', ...files, '--out', folder.at('server'), ...args], { limit: 300_000 });
      let log = '';
      started.child.stderr!.on('data', (text: string) => (log += text));
      const url = (): string | undefined => /one: serving on (.*)\/runs\/one$/m.exec(log)?.[1];
      await until('the server listens', () => url() !== undefined && log.includes('two: serving on'));
      return { ...started, url: url()! };
    };
    const first = await serving();
    const clients = Object.keys(runs).map((name) => {
      const token = readFileSync(folder.at('server', name, 'server', 'tokens', `${client}.token`), 'utf8').trim();
      const args = ['--data', folder.at('rows.jsonl'), '--model', embeddedModel, '--threads', '1', '--patience', '120'];
      return start(['join', `${first.url}/runs/${name}`, ...args, '--out', folder.at(`client of ${name}`)], {
        limit: 300_000,
        env: { FEDLORA_TOKEN: token },
      });
    });
    const rounds = (name: string): number => {
      const file = folder.at('server', name, 'metrics.jsonl');
      return existsSync(file) ? readFileSync(file, 'utf8').split('"kind":"round"').length - 1 : 0;
    };
    await until('both runs have committed rounds', () => rounds('one') > 0 && rounds('two') > 0);
    first.child.kill('SIGKILL');
    await first.ended;
    const again = await serving('--resume', '--set', `serve.port=${new URL(first.url).port}`);
    for (const { ended } of [again, ...clients]) {
      const { code, stderr } = await ended;
      expect(code, stderr).toBe(0);
    }
    for (const { code, stderr } of await Promise.all(simulations)) expect(code, stderr).toBe(0);
    for (const name of Object.keys(runs)) {
      const expected = contents(folder.at('simulated', name, 'adapters', 'fedit', 'global'));
      expect(expected.size).toBe(2);
      expect(contents(folder.at('server', name, 'adapters', 'fedit', 'global')), name).toEqual(expected);
    }
  },
);
