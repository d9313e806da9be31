import { describe, expect, test } from 'vitest';
import { fakeClient } from '../../tests/support/fake-engine.ts';
import { clients, everyone, finished, journalIn, layout, run } from '../../tests/support/federation.ts';
import { contextOf, plainTraining } from '../../tests/support/rounds.ts';
import { averaging, local } from '../../tests/support/stages.ts';
import { temporaryFolder } from '../../tests/support/temporary.ts';
import { labelledTokens } from '../data/batches.ts';
import type { ClientData } from '../data/types.ts';
import { UserError } from '../errors.ts';
import { centralised } from '../methods/centralised.ts';
import { ditto } from '../methods/ditto.ts';
import { feddpa } from '../methods/feddpa.ts';
import { flora } from '../methods/flora.ts';
import { hetlora } from '../methods/hetlora.ts';
import { scaffold, type ScaffoldState } from '../methods/scaffold.ts';
import type { Method } from '../methods/method.ts';
import type { Stage } from '../methods/stage.ts';
import { encodeState } from '../tensor/encode.ts';
import type { StageResult } from './events.ts';
import { RoundFailed } from './fatal.ts';

const folder = temporaryFolder();
const proxy = fakeClient('proxy', 5, 11);
/** Three clients, and the rows of the server as if they were a fourth's. */
const three = clients.slice(0, 3);
const four = [...three, proxy];
const train = { ...plainTraining, batchSize: 2, length: { steps: 2 } };
const stagesOf = (method: Method, options: object, rounds = 2, fraction = 1) =>
  method.stages(method.options.parse(options), contextOf(layout, { rounds, fraction, train }));
const going = async (more: Parameters<typeof run>[1]) =>
  (await finished(run(journalIn(folder), { clients: three, ...more }))).result.stages;
const bits = ({ shared }: StageResult): Buffer => Buffer.from(encodeState(shared));
const members = ({ rounds }: StageResult) => rounds.map(({ participants }) => participants);
const labelled = (data: readonly ClientData[]): number =>
  data.flatMap((client) => client.train).reduce((sum, row) => sum + labelledTokens(row), 0);

describe('a run with rows of the server’s own', () => {
  test.each(['sum', 'each'] as const)(
    'has them in each round that combines by %s, as one more client',
    async (combine) => {
      const stages = [averaging(layout, { rounds: 3, combine })];
      const [with_] = await going({ stages, proxy });
      const [as] = await going({ stages, clients: four });
      const [without] = await going({ stages });
      expect(bits(with_!)).toEqual(bits(as!));
      expect(bits(with_!)).not.toEqual(bits(without!));
      expect(members(with_!)).toEqual(Array.from({ length: 3 }, () => ['ann', 'ben', 'cho', 'proxy']));
      // Its work counts, its traffic is none.
      expect(with_!.tokens).toBe(as!.tokens);
      expect(with_!.rounds.map(({ up, down }) => [up, down])).toEqual(
        without!.rounds.map(({ up, down }) => [up, down]),
      );
      expect([...with_!.traffic]).toEqual([...without!.traffic]);
    },
  );

  test('has them beside whoever is drawn, who are those of a run without', async () => {
    const rounds = { ...everyone, sampling: 'fixed', fraction: 0.5 } as const;
    const stages = [averaging(layout, { rounds: 6 })];
    const [with_] = await going({ stages, proxy, rounds, clients });
    const [without] = await going({ stages, rounds, clients });
    expect(members(with_!)).toEqual(members(without!).map((names) => [...names, 'proxy']));
  });

  test('goes on by them alone where a Poisson draw finds nobody', async () => {
    const never = { sampling: 'poisson', fraction: 1e-9, deadline: 60, minimum: 2 } as const;
    const stages = [averaging(layout, { rounds: 2 })];
    const [alone] = await going({ stages, proxy, rounds: never });
    expect(members(alone!)).toEqual([['proxy'], ['proxy']]);
    expect(bits(alone!)).toEqual(bits((await going({ stages, clients: [proxy] }))[0]!));
    expect([...alone!.traffic]).toEqual([]);
  });

  test('counts clients, not them, towards the least updates of a round', async () => {
    const stages = [averaging(layout, { rounds: 1 })];
    const rounds = { ...everyone, minimum: 4 };
    await expect(going({ stages, proxy, rounds })).rejects.toThrow(RoundFailed);
    await expect(going({ stages, proxy, rounds })).rejects.toThrow(
      'has 3 update(s) of 3 client(s), and rounds.minimum is 4',
    );
    await going({ stages, proxy, rounds: { ...everyone, minimum: 3 } });
  });

  test('counts them among the updates of a robust rule', async () => {
    const stages = [averaging(layout, { rounds: 1 })];
    const robust = { rule: 'krum', bad: 0 } as const;
    const two = three.slice(0, 2);
    await expect(going({ stages, robust, clients: two })).rejects.toThrow('krum takes at least 3');
    const [with_] = await going({ stages, robust, clients: two, proxy });
    expect(bits(with_!)).toEqual(bits((await going({ stages, robust, clients: [...two, proxy] }))[0]!));
  });

  test('leaves local stages to the clients', async () => {
    const told: (readonly string[])[] = [];
    const noting = (stage: Stage): Stage => ({
      ...stage,
      start(from) {
        told.push(from.clients);
        return stage.start(from);
      },
    });
    const stages = [averaging(layout, { rounds: 1 }) as Stage, local(layout) as Stage].map(noting);
    const [, own] = await going({ stages, proxy });
    expect(told).toEqual([
      ['ann', 'ben', 'cho', 'proxy'],
      ['ann', 'ben', 'cho'],
    ]);
    expect(members(own!)).toEqual([['ann', 'ben', 'cho']]);
  });

  test('keeps them out of the rounds of a method that has a stage for them alone', async () => {
    const stages = [averaging(layout, { rounds: 1 }) as Stage];
    const alone: Stage = { ...(averaging(layout, { rounds: 1, name: 'own' }) as Stage), participants: 'proxy' };
    const [first, own] = await going({ stages: [...stages, alone], proxy });
    expect([members(first!), members(own!)]).toEqual([[['ann', 'ben', 'cho']], [['proxy']]]);
    expect(bits(first!)).toEqual(bits((await going({ stages }))[0]!));
  });

  test('goes on after an interruption with the same bits', async () => {
    const stages = [averaging(layout, { rounds: 4 }) as Stage, local(layout) as Stage];
    const rounds = { ...everyone, sampling: 'fixed', fraction: 0.5 } as const;
    const whole = await finished(run(journalIn(folder), { stages, proxy, rounds }));
    const name = 'interrupted.sqlite';
    const journal = journalIn(folder, name);
    for await (const event of run(journal, { stages, proxy, rounds })) {
      if (event.kind === 'client done' && event.round === 2 && event.record.client === 'proxy') break;
    }
    journal.close();
    const resumed = await finished(run(journalIn(folder, name), { stages, proxy, rounds }));
    expect(resumed.print).toBe(whole.print);
  });

  test('refuses a client of their name', async () => {
    const stages = [averaging(layout, { rounds: 1 })];
    await expect(going({ stages, proxy, clients: four })).rejects.toThrow(UserError);
    // Without rows of the server’s own the name is anybody’s.
    const [as] = await going({ stages, clients: four });
    expect(as!.traffic.get('proxy')!.up).toBeGreaterThan(0);
  });
});

describe('with rows of the server’s own', () => {
  test('SCAFFOLD’s server variate is the mean over them too', async () => {
    const stages = stagesOf(scaffold, {});
    const [with_] = await going({ stages, proxy });
    expect((with_!.shared as ScaffoldState).clients).toBe(4);
    expect(bits(with_!)).toEqual(bits((await going({ stages, clients: four }))[0]!));
  });

  test.each([
    ['HetLoRA', hetlora],
    ['FLoRA', flora],
  ])('%s may give them a rank', async (_, method) => {
    const stages = stagesOf(method, { ranks: { proxy: 1 } });
    const [with_] = await going({ stages, proxy });
    expect(bits(with_!)).toEqual(bits((await going({ stages, clients: four }))[0]!));
    await expect(going({ stages })).rejects.toThrow('`ranks` names “proxy”, which is no client');
  });

  test.each([
    ['Ditto', ditto],
    ['FedDPA-T', feddpa],
  ])('%s trains no personal adapter on them', async (_, method) => {
    const stages = stagesOf(method, {});
    const [with_] = await going({ stages, proxy });
    const [as] = await going({ stages, clients: four });
    expect(bits(with_!)).toEqual(bits(as!));
    expect(with_!.models.personal('ann')).toBeDefined();
    // In the last round each client trains twice on the same rows, the server once.
    const last = (stage: StageResult): number => stage.rounds.at(-1)!.tokens;
    const [without] = await going({ stages });
    expect(last(with_!) - last(without!)).toBe((last(as!) - last(without!)) / 2);
  });

  test.each([1, 0.5])('centralised training pools them, with the work of rounds at fraction %d', async (fraction) => {
    const passes = { ...train, length: { epochs: 1 }, batchSize: 1 };
    const stages = (length: object) =>
      centralised.stages(
        centralised.options.parse({}),
        contextOf(layout, { rounds: 1, fraction, train: { ...passes, ...length } }),
      );
    const steps = async (length: object) => {
      const { events } = await finished(run(journalIn(folder), { stages: stages(length), clients: three, proxy }));
      return events.filter(({ kind }) => kind === 'progress').length;
    };
    // Three clients of whom a share is in a round, and the server, who always is.
    const share = (3 * fraction + 1) / 4;
    const rows = four.reduce((sum, client) => sum + client.train.length, 0);
    expect(await steps({})).toBe(Math.round(rows * share));
    expect(await steps({ length: { steps: 4 } })).toBe(Math.round(4 * (3 * fraction + 1)));
    if (fraction < 1) return;
    const [pooled] = await going({ stages: stages({}), proxy });
    expect(pooled!.tokens).toBe(labelled(four));
    expect([...pooled!.traffic]).toEqual([]);
  });
});
