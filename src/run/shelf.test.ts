import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { embeddedModel, embeddedTasks, contents, workspace } from '../../tests/support/workspace.ts';
import type { RunConfigInput } from '../config/schema.ts';
import { run } from './run.ts';

const config = (
  method: RunConfigInput['methods'][number],
  rounds: number,
  more: Partial<RunConfigInput> = {},
): RunConfigInput => ({
  model: { path: embeddedModel },
  data: { path: embeddedTasks, format: 'jsonl', template: 'plain', maxLength: 96 },
  clients: { partition: 'column', column: 'client', count: 2, limit: 16, split: { validation: 2, test: 3 } },
  lora: { rank: 2, alpha: 4 },
  methods: [method],
  rounds: { count: rounds },
  train: { batchSize: 2, steps: 2, rate: 1e-3 },
  runtime: { threads: 1 },
  seed: 5,
  ...more,
});

/** Everything a run leaves that is a result: adapters by their bytes, the summary without clock times. */
const results = (out: string): unknown => ({
  adapters: contents(`${out}/adapters`),
  summary: JSON.parse(readFileSync(`${out}/summary.json`, 'utf8'), (key, value: unknown) =>
    ['seconds', 'peakMemory', 'started'].includes(key) ? undefined : value,
  ) as unknown,
});

const stepsIn = (out: string): number => readFileSync(`${out}/metrics.jsonl`, 'utf8').split('"kind":"step"').length - 1;

describe('runs beside others', () => {
  test('take what another has computed, and end with the bits they have alone', async () => {
    using folder = workspace();
    const shelf = folder.at('shelf');
    const fedlora = { use: 'fedlora-optimizer', average: 'factors', global: { rounds: 2, rows: 4 } };
    const arms: Record<string, readonly [RunConfigInput, steps: number]> = {
      // 2 clients × 2 steps × rounds; after that only what is new.
      short: [config({ use: 'fedit' }, 2), 8],
      local: [config({ use: 'fedit', label: 'and local', local: { steps: 3 } }, 2), 6],
      long: [config({ use: 'fedit' }, 3), 4],
      kept: [config({ use: 'fedit', optimizerState: 'keep' }, 2), 8],
      'kept longer': [config({ use: 'fedit', optimizerState: 'keep' }, 3), 4],
      row: [config({ ...fedlora, axis: 'row', local: { steps: 2 } }, 2), 8 + 4],
      'other local': [config({ ...fedlora, axis: 'row', lambda: 1, local: { steps: 3 } }, 2), 6],
      column: [config({ ...fedlora, axis: 'column', local: { skip: true } }, 2), 8],
      'another rate': [config({ use: 'fedit' }, 2, { train: { batchSize: 2, steps: 2, rate: 2e-3 } }), 8],
      falling: [config({ use: 'fedit' }, 2, { train: { batchSize: 2, steps: 2, overRounds: 'linear' } }), 8],
      'falling longer': [config({ use: 'fedit' }, 3, { train: { batchSize: 2, steps: 2, overRounds: 'linear' } }), 12],
      'another seed': [config({ use: 'fedit' }, 2, { seed: 6 }), 8],
      prox: [config({ use: 'fedprox' }, 2), 8],
    };
    for (const [name, [arm, steps]] of Object.entries(arms)) {
      const [beside, alone] = [folder.at(name), folder.at(`${name} alone`)];
      await run(arm, { out: beside, shelf, report: false });
      await run(arm, { out: alone, report: false });
      expect(results(beside), name).toEqual(results(alone));
      expect(stepsIn(beside), `steps of ${name}`).toBe(steps);
      expect(existsSync(`${beside}/report.html`)).toBe(false);
    }
    // Two bases, one per seed, and no half-written file.
    const files = readdirSync(shelf);
    expect(files.filter((file) => file.startsWith('base-'))).toHaveLength(2);
    expect(files.every((file) => /^(base-\w{32}\.json|\w{32}-\d+\.stage)$/.test(file))).toBe(true);
  });

  test('are scored on validation rows where hyper-parameters are chosen', async () => {
    using folder = workspace();
    const options = { scoreOn: 'validation', report: false } as const;
    const tried = await run(config({ use: 'fedit' }, 1), { out: folder.at('a'), ...options });
    expect(Object.values(tried.base.clients).map(({ rows }) => rows)).toEqual([2, 2]);
    const none = config({ use: 'fedit' }, 1);
    none.clients = { ...none.clients, split: { validation: 0, test: 3 } };
    await expect(run(none, { out: folder.at('b'), ...options })).rejects.toThrow(/has no validation rows to choose/);
  });
});
