import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { setTimeout } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { fedlora, start, type Ended } from './support/cli.ts';
import { contents, smallConfig, workspace, writeConfig } from './support/workspace.ts';

const { methods: _, seed: __, ...base } = smallConfig;
const small = {
  base: { ...base, clients: { ...base.clients, count: 2 }, runtime: { threads: 1 } },
  seeds: [1],
  baseline: 'FedIT',
  tuning: { seeds: [9] },
  arms: [
    { use: 'fedit', label: 'FedIT', run: { rounds: { count: 3 } }, tune: { 'run.train.rate': [1e-3, 1e-2] } },
    { use: 'fedit', label: 'FedIT + local', local: { steps: 2 }, tune: { 'local.rate': [1e-3, 1e-2] } },
    {
      use: 'fedlora-optimizer',
      label: 'ours',
      average: 'factors',
      global: { rounds: 2, rows: 4 },
      tune: { 'local.rate': [1e-2, 1e-1] },
    },
  ],
};

/** What a sweep found, without clock times and memory; and every adapter by its bytes. A kill may leave a half-written file beside it. */
const found = (out: string): unknown => ({
  results: JSON.parse(readFileSync(`${out}/results.json`, 'utf8'), (key, value: unknown) =>
    ['seconds', 'peakMemory'].includes(key) ? undefined : value,
  ) as unknown,
  csv: readFileSync(`${out}/results.csv`, 'utf8')
    .split('\n')
    .filter((line) => !/seconds/i.test(line)),
  adapters: [...contents(`${out}/runs`)]
    .filter(([name]) => name.includes('adapters') && !name.endsWith('.tmp'))
    .map(([name, bytes]) => [name, bytes.toString('base64')]),
});

const stepsIn = (out: string): number =>
  existsSync(out)
    ? (readdirSync(out, { recursive: true }) as string[])
        .filter((name) => name.endsWith('metrics.jsonl'))
        .reduce((sum, name) => sum + readFileSync(`${out}/${name}`, 'utf8').split('"kind":"step"').length - 1, 0)
    : 0;

/** Starts the sweep and signals it once so many training steps are done. */
async function signalAfter(steps: number, signal: NodeJS.Signals, out: string, args: string[]): Promise<Ended> {
  const { child, ended } = start([...args, '--out', out]);
  const over = ended.then(() => true);
  while (stepsIn(out) < steps && !(await Promise.race([over, setTimeout(50, false)])));
  child.kill(signal);
  return ended;
}

describe('a sweep on the command line', () => {
  test(
    'ends with the same bits after kill -9 at several moments and Ctrl-C, in one process or in two',
    { timeout: 600_000 },
    async () => {
      using folder = workspace();
      const [whole, broken] = [folder.at('whole'), folder.at('broken')];
      const args = ['sweep', writeConfig(folder.at('s.yaml'), small)];
      const ended = await fedlora([...args, '--out', whole]);
      expect(ended.code, ended.stderr).toBe(0);
      expect(ended.stderr).toMatch(/FedIT: of 2 tries chosen run\.train\.rate 0\.0/);
      const all = stepsIn(whole);

      // While it tunes, and among the results; the last with two processes at work.
      for (const [share, more] of [
        [0.25, []],
        [0.65, ['--jobs', '2']],
      ] as const) {
        const killed = await signalAfter(all * share, 'SIGKILL', broken, [...args, ...more]);
        expect(killed.signal, killed.stderr).toBe('SIGKILL');
      }
      const stopped = await signalAfter(all * 0.85, 'SIGINT', broken, args);
      expect(stopped.code, stopped.stderr).toBe(130);
      expect(stopped.stderr).toContain('nothing is lost. To go on: the same command');
      const last = await fedlora([...args, '--out', broken, '--jobs', '2']);
      expect(last.code, last.stderr).toBe(0);
      expect(found(broken)).toEqual(found(whole));
    },
  );
});
