import { existsSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { embeddedModel, embeddedTasks, workspace } from '../../tests/support/workspace.ts';
import type { SweepInput } from '../config/sweep-schema.ts';
import { methods } from '../methods/registry.ts';
import { planLines } from '../cli/commands/sweep.ts';
import { planSweep } from './dry-run.ts';
import { sweep } from './sweep.ts';

const base = {
  model: { path: embeddedModel },
  data: { path: embeddedTasks, format: 'jsonl', template: 'plain', maxLength: 96 },
  clients: { partition: 'column', column: 'client', count: 2, limit: 16, proxy: 4, split: { validation: 2, test: 3 } },
  lora: { rank: 2, alpha: 4 },
  rounds: { count: 4 },
  train: { batchSize: 2, steps: 2, rate: 1e-3 },
  evaluate: { every: 0 },
  runtime: { threads: 1 },
};

const small: SweepInput = {
  base: { ...base, clients: { ...base.clients, proxy: 0 } },
  seeds: [1, 2],
  baseline: 'FedIT',
  arms: [
    { use: 'fedit', label: 'FedIT' },
    { use: 'fedit', label: 'FedIT + local', rounds: 3, local: { steps: 2 } },
    { use: 'local-only', label: 'local only' },
    { use: 'feddpa', label: 'FedDPA-T' },
  ],
};

describe('the plan of a sweep', () => {
  test('tells the work that runs then take, what they share, and writes nothing', async () => {
    using folder = workspace();
    const out = folder.at('out');
    const plan = await planSweep(small, { out });
    expect(existsSync(out)).toBe(false);
    // Two clients × two steps: 4 rounds; 3 rounds and 2 local steps; 4 rounds' worth; 4 rounds and, from the second, a local training beside.
    expect(plan.arms.map(({ label, steps }) => [label, steps])).toEqual([
      ['FedIT', 16],
      ['FedIT + local', 16],
      ['local only', 16],
      ['FedDPA-T', 28],
    ]);
    expect(plan).toMatchObject({ runs: { all: 8, done: 0 }, tries: { all: 0, done: 0 } });
    expect(plan.basis).toBe('three measured steps and scores of 2 rows');
    // FedIT goes on from the three rounds of the other arm, which comes first.
    expect(plan.arms.map(({ shared }) => shared)).toEqual([expect.closeTo(0.75, 10), 0, 0, 0]);
    expect(plan.seconds).toBeGreaterThan(0);

    const { cells } = await sweep({ ...small, seeds: [1] }, { out });
    // The second round stands for all later ones, so tokens are near and steps are right.
    for (const { arm, method } of cells) {
      const { labelledTokens } = plan.arms.find(({ label }) => label === arm)!;
      expect(method.labelledTokens / labelledTokens).toBeGreaterThan(0.6);
      expect(method.labelledTokens / labelledTokens).toBeLessThan(1.6);
    }
    const later = await planSweep(small, { out });
    expect(later).toMatchObject({ runs: { all: 8, done: 4 }, basis: '4 earlier runs in the folder' });
    expect((await planSweep({ ...small, seeds: [1] }, { out })).seconds).toBe(0);
    expect(planLines(later, 2).at(-1)).toMatch(
      /^4 of 8 runs to do; about .* of work, .* with 2 jobs, by 4 earlier runs in the folder$/,
    );
  });

  test('can be made for every method', async () => {
    using folder = workspace();
    const needed: Record<string, object> = { fedper: { local: ['lora_B'] } };
    const arms = methods.map(({ name }) => ({ use: name, ...needed[name] }));
    const plan = await planSweep({ base, seeds: [1], baseline: 'fedit', arms }, { out: folder.at('out') });
    expect(plan.arms.filter(({ steps, labelledTokens }) => !(steps > 0 && labelledTokens > 0))).toEqual([]);
  });
});
