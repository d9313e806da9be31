import { describe, expect, test } from 'vitest';
import { plainTraining } from '../../tests/support/rounds.ts';
import { methods } from '../methods/registry.ts';
import { initAdapter } from '../lora/init.ts';
import type { LoraLayout } from '../lora/adapter.ts';
import type { Stage } from '../methods/stage.ts';
import { trainedNumbers } from './trained.ts';

const layout: LoraLayout = {
  rslora: false,
  modules: [
    { name: 'a', inFeatures: 12, outFeatures: 7, rank: 3, alpha: 6, scale: 2 },
    { name: 'b', inFeatures: 5, outFeatures: 9, rank: 3, alpha: 6, scale: 2 },
  ],
};
const adapter = initAdapter(layout, 1);
const train = { ...plainTraining, batchSize: 2, length: { steps: 1 }, rate: 1e-3, clip: 1 };

const counts = async (use: string, options: object): Promise<Record<string, number>> => {
  const stages = methods.find(({ name }) => name === use)!.stages(options, { layout, rounds: 1, fraction: 1, train });
  const entries = stages.map(async (stage: Stage) => {
    const shared = stage.start({ adapter, before: undefined, clients: ['c'] });
    return [stage.name, await trainedNumbers(stage, shared, 'c')] as const;
  });
  return Object.fromEntries(await Promise.all(entries));
};

// METHOD.md, invariant 9: rank·(in + out) for both factors; stage 1 rank·in, stage 2 rank (column, rank) or out (row), per module.
describe('numbers trained per client', () => {
  const both = 3 * (12 + 7) + 3 * (5 + 9);
  test.each([
    ['fedit', { local: {} }, { federated: both, local: both }],
    ['local-only', {}, { local: both }],
    ['fedlora-optimizer', { axis: 'column' }, { federated: both, global: 3 * 12 + 3 * 5, local: 3 + 3 }],
    ['fedlora-optimizer', { axis: 'rank' }, { federated: both, global: 3 * 12 + 3 * 5, local: 3 + 3 }],
    ['fedlora-optimizer', { axis: 'row' }, { federated: both, global: 3 * 12 + 3 * 5, local: 7 + 9 }],
  ])('%s %j', async (use, options, expected) => {
    expect(await counts(use, options)).toEqual(expected);
  });
});
