import { expect, test } from 'vitest';
import { clients, finished, journalIn, layout, run } from '../../tests/support/federation.ts';
import { plainTraining } from '../../tests/support/rounds.ts';
import { temporaryFolder } from '../../tests/support/temporary.ts';
import type { RunEvent } from '../federation/events.ts';
import { methods } from '../methods/registry.ts';
import { rehearse } from './rehearse.ts';

const folder = temporaryFolder();
const train = { ...plainTraining, batchSize: 2, length: { epochs: 1 }, rate: 1e-3 } as const;

// With whole epochs every round of a stage meets the same rows, so the count is exact.
test.each([
  ['fedit', { local: { epochs: 2 } }],
  ['rolora', {}],
  ['ditto', {}],
  ['feddpa', { variant: 'T' }],
  ['feddpa', { variant: 'F' }],
  ['feddpa', { variant: 'T', rounds: 1 }],
  ['fedlora-optimizer', { schedule: 'interleaved', global: { rounds: 6, rows: 'all' }, local: { epochs: 1 } }],
])('%s %o takes what its rehearsal says', async (name, options) => {
  const method = methods.find((one) => one.name === name)!;
  const stages = method.stages(method.options.parse(options), { layout, rounds: 5, fraction: 1, train });
  const data = { clients, proxy: [] };
  const planned = await rehearse(stages, { layout, data, seed: 3, fraction: 1, hidden: 4 });
  const { events, result } = await finished(run(journalIn(folder), { stages }));
  const steps = (at: number): number =>
    events.filter((event: RunEvent) => event.kind === 'progress' && event.stageIndex === at).length;
  expect(planned).toEqual(
    result.stages.map(({ rounds, tokens, processed }, i) => ({
      rounds: rounds.length,
      steps: steps(i),
      labelledTokens: tokens,
      processedTokens: processed,
    })),
  );
});
