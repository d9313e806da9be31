import { expect, test } from 'vitest';
import { clients, everyone, finished, journalIn, layout, run } from '../../tests/support/federation.ts';
import { averaging, visitsOf } from '../../tests/support/stages.ts';
import { temporaryFolder } from '../../tests/support/temporary.ts';
import type { Stage } from '../methods/stage.ts';
import type { RoundSettings } from './events.ts';
import { drawFixed, selectClients } from './select.ts';

const folder = temporaryFolder();
const names = clients.map(({ id }) => id);
const rounds: RoundSettings = { ...everyone, sampling: 'fixed', fraction: 0.5, overSampling: 1.5 };
const at = { method: 'method', stage: 'federated', stageIndex: 0 };

/** The stage with clients whose work fails in some rounds. */
const failing = (stage: Stage, fails: (client: string, round: number) => boolean): Stage => ({
  ...stage,
  work(received, mine, kit) {
    if (fails(kit.client, kit.round)) throw new Error('the battery is empty');
    return stage.work(received, mine, kit);
  },
});

test('draws the sample of a run without it first, and so many more that all are overSampling times as many', () => {
  for (const [overSampling, count] of [
    [1, 3],
    [1.3, 4],
    [1.5, 5],
    [2, 6],
    [9, 6],
  ] as const) {
    for (let draw = 0; draw < 20; draw++) {
      const drawn = drawFixed(names, { fraction: 0.5, overSampling }, 3, 'federated', draw);
      expect(drawn.needed).toBe(3);
      expect(new Set(drawn.names).size).toBe(count);
      const without = selectClients(names, { sampling: 'fixed', fraction: 0.5 }, 3, 'federated', draw);
      expect(drawn.names.slice(0, 3).toSorted()).toEqual(without);
    }
  }
});

test('changes nothing in a simulation in which nobody fails', async () => {
  const stages = [averaging(layout, { rounds: 4 })];
  const { overSampling: _, ...without } = rounds;
  const plain = await finished(run(journalIn(folder), { stages, rounds: without }));
  const over = await finished(run(journalIn(folder), { stages, rounds }));
  expect(over.print).toBe(plain.print);
});

test('asks another in the place of each client that fails, in the order of the draw, however many work at a time', async () => {
  const drawn = Array.from({ length: 4 }, (_, draw) =>
    drawFixed(names, { ...rounds, overSampling: 1.5 }, 3, 'federated', draw),
  );
  // In each round the first that was drawn fails; in the second the spare that takes its place as well.
  const fails = (client: string, round: number): boolean => {
    const order = drawn[round]!.names;
    return client === order[0] || (round === 1 && client === order[3]);
  };
  const journal = journalIn(folder);
  const stages = [failing(averaging(layout, { rounds: 4 }), fails)];
  const { result, print } = await finished(run(journal, { stages, rounds }));
  const [stage] = result.stages;
  for (const [round, { participants, leftOut }] of stage!.rounds.entries()) {
    const order = drawn[round]!.names;
    const counted = round === 1 ? [order[1]!, order[2]!, order[4]!] : [order[1]!, order[2]!, order[3]!];
    expect(participants).toEqual(counted.toSorted());
    expect(leftOut.map(({ client }) => client).toSorted()).toEqual(
      (round === 1 ? [order[0]!, order[3]!] : [order[0]!]).toSorted(),
    );
    // Whoever was not needed was not asked.
    expect(journal.clients(at, round)).toHaveLength(round === 1 ? 5 : 4);
  }
  const visits = names.map((name) => visitsOf(journal.privateState(at, name)));
  expect(visits).toEqual(
    names.map((name) => stage!.rounds.filter(({ participants }) => participants.includes(name)).length),
  );
  for (const concurrency of [3, 6]) {
    expect((await finished(run(journalIn(folder), { stages, rounds, concurrency }))).print).toBe(print);
  }
});

test('with too few left goes on with those that came, down to the minimum', async () => {
  const order = drawFixed(names, { ...rounds, overSampling: 1.5 }, 3, 'federated', 0).names;
  const stages = [failing(averaging(layout, { rounds: 1 }), (client) => client !== order[4])];
  const { result } = await finished(run(journalIn(folder), { stages, rounds }));
  expect(result.stages[0]!.rounds[0]).toMatchObject({ participants: [order[4]] });
  expect(result.stages[0]!.leftOut).toHaveLength(4);
  await expect(finished(run(journalIn(folder), { stages, rounds: { ...rounds, minimum: 2 } }))).rejects.toThrow(
    'has 1 update(s) of 5 client(s), and rounds.minimum is 2',
  );
});
