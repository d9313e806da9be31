import { expect, test } from 'vitest';
import { finished, initial, journalIn, layout, run } from '../../../tests/support/federation.ts';
import { plainTraining } from '../../../tests/support/rounds.ts';
import { federationTools, names, rounds, three } from '../../../tests/support/served.ts';
import { initAdapter } from '../../lora/init.ts';
import { methods } from '../../methods/registry.ts';
import type { Stage } from '../../methods/stage.ts';
import { encodeState } from '../../tensor/encode.ts';
import { serverSide } from '../federation.ts';

const tools = federationTools();
const hex = (state: Parameters<typeof encodeState>[0]): string => Buffer.from(encodeState(state)).toString('hex');

const train = {
  ...plainTraining,
  batchSize: 2,
  length: { steps: 2 },
  rate: 1e-2,
  clip: 1,
  // Every client has to know how far its stage has come.
  overRounds: { schedule: 'cosine', floor: 0.2 },
} as const;

/** Options that make a method do what sets it apart: state that is kept, ranks of their own, stages in turn. */
const options: Readonly<Record<string, object>> = {
  'fedlora-optimizer': { optimizerState: 'keep', schedule: 'interleaved', global: { rounds: 2 }, local: { steps: 1 } },
  fedit: { optimizerState: 'keep', local: { steps: 1 } },
  fedper: { local: ['lora_B'] },
  flora: { ranks: { [names[0]!]: 1 } },
  hetlora: { ranks: { [names[0]!]: 1 } },
};

const stagesOf = (name: string): readonly Stage[] => {
  const method = methods.find((one) => one.name === name)!;
  return method.stages(method.options.parse(options[name] ?? {}), { layout, rounds: 2, fraction: 1, train });
};
const served = methods
  .map(({ name }) => name)
  .filter((name) => stagesOf(name).every((stage) => serverSide(stage) === undefined));

test('all methods but the one that pools all rows can be served', () => {
  expect(methods.map(({ name }) => name).filter((name) => !served.includes(name))).toEqual(['centralised']);
});

test.each(served)('%s gives the simulation’s bits over HTTP', async (name) => {
  // The others go on from an adapter that has learnt; Fed-SB begins at the base itself.
  const start = { initial: name === 'fed-sb' ? initAdapter(layout, 3) : initial };
  const simulation = journalIn(tools.folder());
  const { result } = await finished(run(simulation, { stages: stagesOf(name), clients: three, ...start }));
  const folder = tools.folder();
  const server = await tools.serve(folder);
  const taking = names.map((client) => tools.takesPart(server.server, folder, client, { stages: stagesOf(name) }));
  const there = await finished(rounds(server, { stages: stagesOf(name), ...start }));
  await server.server.end({ how: 'finished', why: '' }, 10);
  const ended = await Promise.all(taking);
  for (const [i, stage] of result.stages.entries()) {
    expect(stage.leftOut).toEqual([]);
    expect(hex(there.result.stages[i]!.shared)).toBe(hex(stage.shared));
    expect([...there.result.stages[i]!.traffic]).toEqual([...stage.traffic]);
    for (const [k, client] of names.entries()) {
      const mine = simulation.privateState(stage, client);
      expect(hex(ended[k]!.state.privateState(stage) ?? null)).toBe(hex(mine ?? null));
    }
  }
});
