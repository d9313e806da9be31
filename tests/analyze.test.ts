import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { setTimeout } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Sensitivity } from '../src/experiments/sensitivity-result.ts';
import { readTensors } from '../src/formats/files/safetensors.ts';
import { fedlora, start, type Ended } from './support/cli.ts';
import { contents, smallConfig, workspace, writeConfig } from './support/workspace.ts';

const folder = workspace();
const config = folder.at('c.yaml');
const whole = folder.at('whole');
// As long as the two rounds of two steps would be, times ten; without warm-up B has moved at the checkpoint.
const steps = 40;
let printed = '';
let told = '';

beforeAll(async () => {
  writeConfig(config, { ...smallConfig, methods: [{ use: 'local-only', steps }], runtime: { threads: 1 } });
  const ended = await fedlora(['analyze', config, '--steps', `${steps}`, '--out', whole]);
  expect(ended.code, ended.stderr).toBe(0);
  printed = ended.stdout;
  told = ended.stderr;
});
afterAll(() => folder[Symbol.dispose]());

const resultIn = (out: string): Sensitivity =>
  JSON.parse(readFileSync(`${out}/sensitivity.json`, 'utf8')) as Sensitivity;
const doneIn = (out: string): string[] => (existsSync(`${out}/clients`) ? readdirSync(`${out}/clients`) : []);

describe('the study', () => {
  test('prints the ratios beside the paper’s, tells of every client, and leaves its files', () => {
    expect(printed).toMatch(/^column +\d/m);
    expect(printed).toMatch(/^paper, LLaMA2-7B +1\.7 .* 41 /m);
    expect(printed.trimEnd().split('\n').at(-1)).toBe(`report: ${whole}/report.html`);
    expect(told).toMatch(/3 client\(s\), each alone, 40 steps on 8 projections; checkpoint after 4/);
    expect(told).toMatch(/^aurora: loss \d+\.\d{3} to the checkpoint, \d+\.\d{3} at the end; .+ left$/m);
    const { source, changes } = resultIn(whole);
    expect(source).toMatchObject({ kind: 'training', at: 0.1, rate: 1e-3, seed: 5 });
    expect(changes.length).toBe(3 * 8 * 3 * 2);
    expect(readFileSync(`${whole}/sensitivity.csv`, 'utf8').trimEnd().split('\n').length).toBe(1 + 3 * 8 * 3 * 2 * 8);
    expect(readFileSync(`${whole}/report.html`, 'utf8')).toContain('aurora');
    // A moves little from its random start; B, from nothing, grows and turns.
    for (const change of changes) {
      expect(change.undirected).toBe(0);
      expect(change.deltaM).toBeGreaterThan(0);
      expect(change.deltaD).toBeGreaterThan(0);
    }
  });

  test('trains as local-only does, to the same bits', async () => {
    const out = folder.at('run');
    const ended = await fedlora(['run', config, '--out', out, '--set', 'evaluate.matrix=false']);
    expect(ended.code, ended.stderr).toBe(0);
    const file = (path: string) => readTensors(`${path}/adapter_model.safetensors`);
    for (const client of ['aurora', 'birch']) {
      const own = await file(`${out}/adapters/local-only/clients/${client}`);
      expect(await file(`${whole}/adapters/${client}/end`)).toEqual(own);
      expect(await file(`${whole}/adapters/${client}/checkpoint`)).not.toEqual(own);
    }
  });

  test('--from and --to compare the adapters that it kept, to the same figures', async () => {
    const [from, to] = ['checkpoint', 'end'].map((which) => `${whole}/adapters/birch/${which}`) as [string, string];
    const out = folder.at('two');
    const ended = await fedlora(['analyze', '--from', from, '--to', to, '--out', out]);
    expect(ended.code, ended.stderr).toBe(0);
    const without = (all: Sensitivity['changes']) => all.map((change) => ({ ...change, client: '' }));
    const own = resultIn(whole).changes.filter(({ client }) => client === 'birch');
    expect(without(resultIn(out).changes)).toEqual(without(own));
    expect(resultIn(out).source).toEqual({
      kind: 'adapters',
      from,
      to,
      base: expect.stringContaining('model') as string,
    });
  });
});

describe('a study that is stopped', () => {
  /** Starts it, and signals it once so many clients are done. */
  async function signalAfter(clients: number, signal: NodeJS.Signals, out: string, more: string[]): Promise<Ended> {
    const { child, ended } = start(['analyze', config, '--steps', `${steps}`, '--out', out, ...more]);
    const over = ended.then(() => true);
    while (doneIn(out).filter((name) => name.endsWith('.json') && !name.startsWith('.')).length < clients) {
      if (await Promise.race([over, setTimeout(3, false)])) break;
    }
    child.kill(signal);
    return ended;
  }

  test(
    'goes on after kill -9 and Ctrl-C, trains no client again, and ends with the same figures',
    { timeout: 120_000 },
    async () => {
      const out = folder.at('broken');
      expect((await signalAfter(1, 'SIGKILL', out, [])).signal).toBe('SIGKILL');
      const kept = contents(`${out}/clients`);
      expect(kept.size).toBeGreaterThanOrEqual(1);
      expect(existsSync(`${out}/sensitivity.json`)).toBe(false);

      const plain = await fedlora(['analyze', config, '--steps', `${steps}`, '--out', out]);
      expect(plain).toMatchObject({ code: 2, stdout: '' });
      expect(plain.stderr).toContain(`${out} holds this analysis, unfinished: add --resume`);

      const stopped = await signalAfter(2, 'SIGINT', out, ['--resume']);
      expect(stopped.code, stopped.stderr).toBe(130);
      expect(stopped.stderr).toContain('with --resume added');

      const last = await fedlora(['analyze', config, '--steps', `${steps}`, '--out', out, '--resume']);
      expect(last.code, last.stderr).toBe(0);
      expect(last.stderr).toMatch(/^aurora: .*; known$/m);
      // Their seconds too: what was kept is what is there.
      for (const [name, bytes] of kept) expect(contents(`${out}/clients`).get(name)).toEqual(bytes);
      expect(resultIn(out).changes).toEqual(resultIn(whole).changes);
      expect(contents(`${out}/adapters`)).toEqual(contents(`${whole}/adapters`));

      const again = await fedlora(['analyze', config, '--steps', `${steps}`, '--out', out]);
      expect(again).toMatchObject({ code: 0, stdout: last.stdout });
    },
  );
});

describe('mistakes', () => {
  const adapter = `${whole}/adapters/aurora/end`;
  const cases: readonly (readonly [string, readonly string[], RegExp])[] = [
    ['no subject', ['analyze'], /A configuration, or two adapters/],
    ['one adapter', ['analyze', '--from', adapter], /both --from and --to/],
    [
      'both subjects',
      ['analyze', config, '--from', adapter, '--to', adapter],
      /give a configuration to train by, or both/,
    ],
    [
      'steps of adapters',
      ['analyze', '--from', adapter, '--to', adapter, '--steps', '4'],
      /--steps has no meaning where two adapters/,
    ],
    ['a folder that is there', ['analyze', '--from', adapter, '--to', adapter, '--out', whole], /is there already/],
    [
      'a checkpoint at step 0',
      ['analyze', config, '--steps', '9', '--out', folder.at('x')],
      /would be step 0, where B = 0 has no direction: train at least 10 steps/,
    ],
    [
      'a checkpoint at the end',
      ['analyze', config, '--at', '1', '--out', folder.at('x')],
      /--at: expected a share between 0 and 1/,
    ],
    [
      'a checkpoint in the warm-up',
      ['analyze', config, '--steps', '10', '--set', 'train.warmup=1', '--out', folder.at('warm')],
      /B of model\.layers\.0\.\S+ is still 0 at aurora's checkpoint after step 1/,
    ],
    [
      'another study there',
      ['analyze', config, '--steps', '50', '--out', whole],
      /holds another analysis: the settings .* differ/,
    ],
    [
      'something else there',
      ['analyze', config, '--steps', '40', '--out', folder.path],
      /is not empty and holds no analysis/,
    ],
    ['a bad configuration', ['analyze', config, '--set', 'train.rate=-1', '--out', folder.at('x')], /train\.rate/],
    ['no configuration', ['analyze', folder.at('none.yaml')], /there is no such file/],
  ];
  test.each(cases)('%s', async (_, args, message) => {
    const ended = await fedlora(args);
    expect(ended.stderr).toMatch(message);
    expect(ended).toMatchObject({ code: 2, stdout: '' });
    expect(existsSync(folder.at('x'))).toBe(false);
  });

  test('a client whose loss is not finite is left out with the reason; with none left there is no result', async () => {
    const out = folder.at('wild');
    const sets = ['train.rate=1e38', 'train.clip=0', 'clients.count=2'].flatMap((set) => ['--set', set]);
    const ended = await fedlora(['analyze', config, '--steps', '10', '--out', out, ...sets]);
    expect(ended.code).toBe(2);
    expect(ended.stderr).toMatch(/aurora is left out: .*in step \d+/);
    expect(ended.stderr).toMatch(/no client could be trained: aurora: /);
  });
});
