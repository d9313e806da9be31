import { expect, test } from 'vitest';
import { finished, initial, journalIn, layout, run } from '../../../tests/support/federation.ts';
import { plainTraining } from '../../../tests/support/rounds.ts';
import { bits, same } from '../../../tests/support/secure-sums.ts';
import { federationTools, names, rounds, three } from '../../../tests/support/served.ts';
import { initAdapter } from '../../lora/init.ts';
import { stack } from '../../lora/mix.ts';
import { methods } from '../../methods/registry.ts';
import type { Stage } from '../../methods/stage.ts';
import { norm, subtract } from '../../tensor/tensors.ts';
import type { MethodResult } from '../events.ts';
import { defaultSecureSettings as secure } from '../secure/combiner.ts';

const tools = federationTools();
const train = { ...plainTraining, batchSize: 2, length: { steps: 2 }, rate: 1e-2, clip: 1 } as const;
const needed: Readonly<Record<string, object>> = {
  'fedlora-optimizer': { global: { rounds: 2 }, local: { steps: 1 } },
  fedper: { local: ['lora_B'] },
};

/** Of the capability matrix: the methods whose sums suffice, some with an option, that add up anything. */
const linear = methods.flatMap((method) => {
  const cell = method.capabilities!.secureAggregation;
  if (cell === false) return [];
  const options = method.options.parse({ ...needed[method.name], ...(typeof cell === 'object' && cell.with) });
  const stages = (): readonly Stage[] => method.stages(options, { layout, rounds: 2, fraction: 1, train });
  return stages().some(({ combine }) => combine !== 'none') ? [[method.name, stages] as const] : [];
});

const global = (result: MethodResult) => stack(result.stages.at(-1)!.models.global);

test('most methods are among them', () => {
  expect(linear.map(([name]) => name)).toContain('scaffold');
  expect(linear.length).toBeGreaterThan(15);
});

test.each(linear)(
  '%s under masks over HTTP: the bits of a simulation under masks, and the plain sums',
  async (name, stages) => {
    const start = { initial: name === 'fed-sb' ? initAdapter(layout, 3) : initial };
    const simulated = async (more: { readonly secure?: typeof secure }): Promise<MethodResult> =>
      (await finished(run(journalIn(tools.folder()), { stages: stages(), clients: three, ...start, ...more }))).result;
    const folder = tools.folder();
    const served = await tools.serve(folder);
    const taking = names.map((client) =>
      tools.takesPart(served.server, folder, client, { stages: stages(), sums: same }),
    );
    const { result } = await finished(rounds(served, { stages: stages(), secure, ...start }));
    await served.server.end({ how: 'finished', why: '' }, 10);
    await Promise.all(taking);
    expect(result.stages.flatMap(({ leftOut }) => leftOut)).toEqual([]);
    expect(bits(result)).toEqual(bits(await simulated({ secure })));
    const [masked, plain] = [global(result), global(await simulated({}))];
    expect(norm(plain)).toBeGreaterThan(0.1);
    expect(norm(subtract(masked, plain)) / norm(plain)).toBeLessThan(1e-5);
  },
);
