import { existsSync, readFileSync } from 'node:fs';
import { setTimeout } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { fedlora, start, type Ended } from './support/cli.ts';
import { contents, smallConfig, workspace, writeConfig } from './support/workspace.ts';

const config = {
  ...smallConfig,
  methods: [
    { use: 'fedlora-optimizer', global: { rounds: 2, rows: 4 }, local: { steps: 2 }, optimizerState: 'keep' },
    { use: 'fedit', local: { steps: 2 } },
  ],
};

/** Lines of metrics.jsonl without what differs from run to run. */
function metrics(out: string): unknown[] {
  const text = readFileSync(`${out}/metrics.jsonl`, 'utf8');
  expect(text.endsWith('\n')).toBe(true);
  return text
    .trimEnd()
    .split('\n')
    .map((line) => {
      const { time: _, seconds: __, peakMemory: ___, ...rest } = JSON.parse(line) as Record<string, unknown>;
      return rest;
    });
}

/** summary.json without what is measured of a process. */
const summary = (out: string): unknown =>
  JSON.parse(readFileSync(`${out}/summary.json`, 'utf8'), (key, value: unknown) =>
    ['seconds', 'peakMemory', 'started'].includes(key) ? undefined : value,
  );

const stepsIn = (out: string): number =>
  existsSync(`${out}/metrics.jsonl`)
    ? readFileSync(`${out}/metrics.jsonl`, 'utf8').split('"kind":"step"').length - 1
    : 0;

/** Starts a run and signals it once metrics.jsonl has so many steps. */
async function signalAfter(
  steps: number,
  signals: readonly NodeJS.Signals[],
  out: string,
  args: string[],
): Promise<Ended> {
  const { child, ended } = start([...args, '--out', out]);
  const over = ended.then(() => true);
  while (stepsIn(out) < steps && !(await Promise.race([over, setTimeout(5, false)])));
  for (const signal of signals) {
    child.kill(signal);
    await setTimeout(20);
  }
  return ended;
}

describe('a run that is stopped', () => {
  test(
    'finishes with the same bits after kill -9 at several moments and after Ctrl-C',
    { timeout: 240_000 },
    async () => {
      using folder = workspace();
      const run = ['run', writeConfig(folder.at('c.yaml'), config)];
      const whole = folder.at('whole');
      const broken = folder.at('broken');
      expect(await fedlora([...run, '--out', whole])).toMatchObject({ code: 0 });
      const all = stepsIn(whole);
      // Two federated rounds (3 clients × 2 steps), 2 global gradients and a local stage; then two rounds and a local stage.
      expect(all).toBe(2 * 6 + 2 * 3 + 6 + 2 * 6 + 6);

      // Within the first round, within the second, a global round, the local stage, the second method.
      for (const steps of [3, 9, 14, 22, 31]) {
        const ended = await signalAfter(steps, ['SIGKILL'], broken, steps === 3 ? run : [...run, '--resume']);
        expect(ended.signal, `killed after ${steps} steps: ${ended.stderr}`).toBe('SIGKILL');
      }
      const stopped = await signalAfter(40, ['SIGINT'], broken, [...run, '--resume']);
      expect(stopped.code).toBe(130);
      expect(stopped.stderr).toContain(`To go on: fedlora run ${folder.at('c.yaml')} --out ${broken} --resume`);
      const last = await fedlora([...run, '--out', broken, '--resume']);
      expect(last.code, last.stderr).toBe(0);

      expect(contents(`${broken}/adapters`)).toEqual(contents(`${whole}/adapters`));
      expect(contents(`${whole}/adapters`).size).toBe(2 * 2 * (1 + 3));
      expect(summary(broken)).toEqual(summary(whole));
      expect(metrics(broken)).toEqual(metrics(whole));
    },
  );

  test(
    'ends at once at the second Ctrl-C, and is told how to go on without --resume',
    { timeout: 120_000 },
    async () => {
      using folder = workspace();
      const out = folder.at('out');
      const run = ['run', writeConfig(folder.at('c.yaml'), config)];
      const ended = await signalAfter(2, ['SIGINT', 'SIGINT'], out, run);
      expect(ended.code).toBe(130);
      expect(ended.stderr).toContain('Ctrl-C again stops at once');

      const before = contents(out);
      const again = await fedlora([...run, '--out', out]);
      expect(again.code).toBe(2);
      expect(again.stderr).toContain(`${out} holds this run, unfinished: add --resume`);
      expect(contents(out)).toEqual(before);
    },
  );
});
