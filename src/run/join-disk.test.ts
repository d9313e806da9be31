import { expect, test } from 'vitest';
import { clients, finished, journalIn, run } from '../../tests/support/federation.ts';
import { fakeEngine, fakeLayout } from '../../tests/support/fake-engine.ts';
import { plainTraining } from '../../tests/support/rounds.ts';
import { temporaryFolder } from '../../tests/support/temporary.ts';
import type { LoadedData } from '../data/load.ts';
import { serverSide } from '../federation/federation.ts';
import { initAdapter } from '../lora/init.ts';
import { methods } from '../methods/registry.ts';
import type { Stage } from '../methods/stage.ts';
import { stateChunks } from '../tensor/encode.ts';
import { byteSize } from '../tensor/tensors.ts';
import { diskOf } from './join-disk.ts';
import { stagesOf } from './join-plan.ts';

const root = temporaryFolder();
// Wide enough that numbers take more than headers.
const layout = fakeLayout(2, 128, 96, 4);
const initial = initAdapter(layout, 5);
const three = clients.slice(0, 3);
const train = { ...plainTraining, batchSize: 2, length: { steps: 1 }, rate: 1e-2, clip: 1 } as const;
const options: Readonly<Record<string, object>> = {
  'fedlora-optimizer': { optimizerState: 'keep', global: { rounds: 2 }, local: { steps: 1 } },
  fedit: { local: { steps: 1 } },
  fedper: { local: ['lora_B'] },
  flora: { ranks: { ann: 1 } },
  hetlora: { ranks: { ann: 1 } },
};

function laidOut(name: string, rounds: number) {
  const method = methods.find((one) => one.name === name)!;
  const chosen = method.options.parse(options[name] ?? {});
  return { options: chosen, stages: method.stages(chosen, { layout, rounds, fraction: 1, train }) };
}

/** The same stage; `sent` is told the bytes that lie on a client's disk: what is frozen, and a payload beside it. */
const told = (stage: Stage, sent: (bytes: number) => void): Stage => ({
  ...stage,
  broadcast(shared, client, round) {
    const own = stage.broadcast(shared, client, round);
    sent(byteSize(stage.frozen?.(shared, round) ?? new Map()) + byteSize(own));
    return own;
  },
  apply(shared, combined, round) {
    const after = stage.apply(shared, combined, round);
    const frozen = byteSize(stage.frozen?.(after, round + 1) ?? new Map());
    const model = stage.models(after).reduce((sum, { adapter }) => sum + byteSize(adapter.factors), 0);
    const state = stateChunks(after).reduce((sum, { length }) => sum + length, 0);
    sent(frozen + Math.max(model, state));
    return after;
  },
});

const names = methods.map(({ name }) => name).filter((name) => name !== 'centralised');

test.each(names)('%s sends a client no more than it plans for', async (name) => {
  const { stages, options: chosen } = laidOut(name, 4);
  const { least, most } = await diskOf([{ stages, options: chosen }], initial, three.length);
  const seen: number[] = [];
  const measured = stages.map((stage) => told(stage, (bytes) => seen.push(bytes)));
  await finished(run(journalIn(root), { stages: measured, clients: three, initial, engine: fakeEngine(layout) }));
  expect(Math.max(0, ...seen)).toBeLessThanOrEqual(most);
  expect(least).toBeLessThanOrEqual(most);
  // A bound that nothing comes near would bound nothing.
  const grows = ['flora', 'fedex-lora'].includes(name);
  // Fed-SB sends whole gradients once.
  const large = grows || name === 'fed-sb';
  expect(most).toBeLessThan((large ? 160 : 32) * byteSize(initial.factors));
  if (grows) expect(Math.max(...seen)).toBeGreaterThan(least);
});

test.each(names)('%s has a plan that a client is told before it takes part', async (name) => {
  const { stages, options: chosen } = laidOut(name, 4);
  const one = { label: name, use: name, options: chosen, stages };
  const plan = await stagesOf([one], initial, { clients: three.slice(0, 1) } as unknown as LoadedData);
  expect(plan.map(({ stage }) => stage)).toEqual(
    stages.filter((stage) => serverSide(stage) === undefined).map((stage) => stage.name),
  );
  for (const { numbers, bytes } of plan) expect(bytes).toBeGreaterThanOrEqual(4 * numbers);
});

test('a plan has the most of a stage’s rounds: FedDPA trains twice from the second on, RoLoRA sends A in one and B in the other', async () => {
  const planned = async (name: string, rounds: number) => {
    const one = { label: name, use: name, ...laidOut(name, rounds) };
    return (await stagesOf([one], initial, { clients: three.slice(0, 1) } as unknown as LoadedData))[0]!;
  };
  const [all, once, twice] = [await planned('fedit', 2), await planned('feddpa', 1), await planned('feddpa', 2)];
  expect([once.trained, twice.trained]).toEqual([all.trained, 2 * all.trained]);
  expect(Number(twice.rows)).toBe(2 * Number(once.rows));
  const of = (kind: string): number =>
    [...initial.factors].reduce((sum, [key, { data }]) => sum + (key.endsWith(kind) ? data.length : 0), 0);
  expect((await planned('rolora', 2)).numbers).toBe(Math.max(of('_A'), of('_B')));
  expect(of('_A')).not.toBe(of('_B'));
});

test('where what is kept grows, it grows by all who take part in each round', async () => {
  const at = async (rounds: number, people: number) =>
    (await diskOf([laidOut('flora', rounds)], initial, people)).most -
    (await diskOf([laidOut('flora', rounds)], initial, 0)).most;
  const each = (await at(100, 4)) / 400;
  expect(each / byteSize(initial.factors)).toBeGreaterThan(1);
  expect(await at(100, 8)).toBeGreaterThan(1.9 * (await at(100, 4)));
});
