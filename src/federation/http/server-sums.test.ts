import { describe, expect, test } from 'vitest';
import { fakeClient, fakeEngine } from '../../../tests/support/fake-engine.ts';
import { finished, journalIn, layout, run } from '../../../tests/support/federation.ts';
import { contextOf, plainTraining } from '../../../tests/support/rounds.ts';
import {
  all,
  bits,
  hex,
  isSum,
  leaving,
  once,
  same,
  secureTools,
  sessions,
  seven,
  without,
  work,
} from '../../../tests/support/secure-sums.ts';
import { names, rounds, type Served } from '../../../tests/support/served.ts';
import { fedit } from '../../methods/fedit.ts';
import type { Method } from '../../methods/method.ts';
import { scaffold } from '../../methods/scaffold.ts';
import type { Stage } from '../../methods/stage.ts';
import { openDatabase } from '../database.ts';
import type { MethodResult } from '../events.ts';
import type { Participant } from '../participant.ts';
import { processParticipant } from '../process/participant.ts';
import { defaultSecureSettings as secure } from '../secure/combiner.ts';
import { secureStages } from '../secure/messages.ts';
import type { TakingPart } from './client/take-part.ts';

// The server's own rows as one of those who add up under masks: with them the seven clients are eight, of whom two may leave.

const { tools, joined, lives, resumed } = secureTools();
const proxy = fakeClient('proxy', 5, 11);
const options = { clients: all, ownSums: secure };
const everybody = [...all, 'proxy'];

const stagesOf = (method: Method): readonly Stage[] =>
  method.stages(
    method.options.parse({}),
    contextOf(layout, { rounds: 2, fraction: 1, train: { ...plainTraining, batchSize: 2, length: { steps: 2 } } }),
  );
const party = ({ journal }: Pick<Served, 'journal'>): Participant =>
  processParticipant({ clientData: () => proxy, engine: fakeEngine(layout), journal, seed: 3 });
const simulated = async (stages: readonly Stage[], journal = journalIn(tools.folder())): Promise<MethodResult> =>
  (await finished(run(journal, { stages, clients: seven, proxy, secure }))).result;

const failing: Participant = {
  async *perform() {
    yield { step: 1, steps: 2, loss: 1, tokens: 4, processed: 8 };
    throw new Error('the thread ended');
  },
};

describe('secure sums with the server’s own rows among those who add up', () => {
  test.each([
    ['FedIT', fedit],
    ['SCAFFOLD, whose participants have private states', scaffold],
  ])('end with the simulation’s bits, and tell of no client: %s', async (_, method) => {
    const simulation = journalIn(tools.folder());
    const result = await simulated(stagesOf(method), simulation);

    const folder = tools.folder();
    const served = await tools.serve(folder, options);
    const taking = all.map((name) =>
      tools.takesPart(served.server, folder, name, { stages: stagesOf(method), sums: same }),
    );
    const there = await finished(
      rounds(served, { stages: stagesOf(method), clients: all, secure, own: party(served) }),
    );
    await served.server.end({ how: 'finished', why: '' }, 10);
    const ended = await Promise.all(taking);

    expect(bits(there.result)).toEqual(bits(result));
    for (const [i, stage] of result.stages.entries()) {
      const other = there.result.stages[i]!;
      expect([...other.traffic]).toEqual([...stage.traffic]);
      for (const [k, { tokens, processed, trainLoss }] of stage.rounds.entries()) {
        expect(other.rounds[k]).toMatchObject({ participants: everybody, leftOut: [], tokens, processed });
        expect(other.rounds[k]!.trainLoss).toBeCloseTo(trainLoss!, 4);
        for (const record of served.journal.clients(other, k))
          expect(record.tokens > 0, record.client).toBe(record.client === 'proxy');
      }
      const own = served.journal.privateState(other, 'proxy');
      expect(own === undefined ? own : hex(own)).toBe(
        method === scaffold ? hex(simulation.privateState(stage, 'proxy')!) : undefined,
      );
      for (const [k, name] of all.entries()) {
        const [mine, like] = [ended[k]!.state.privateState(other), simulation.privateState(stage, name)];
        expect(mine && hex(mine), name).toBe(like && hex(like));
      }
    }
    await served.close();
    const record = openDatabase(`${folder}/server/server.sqlite`);
    const results = record.all('select client, result, digest from tasks');
    record.close();
    expect(results).toHaveLength(7 * 2);
    for (const { result: told, digest } of results) {
      expect(digest).toBeNull();
      expect(JSON.parse(String(told))).toMatchObject({ digest: null, weight: null, totals: { tokens: 0, lossSum: 0 } });
    }
  });

  test('go on without clients that leave, before their numbers are there and after', async () => {
    const folder = tools.folder();
    const served = await tools.serve(folder, options);
    const at = new Map([
      ['ben', leaving('masked')],
      ['fay', leaving('reveal')],
    ]);
    const taking = all.map((name) =>
      tools.takesPart(served.server, folder, name, { stages: once(), sums: at.get(name) ?? same }),
    );
    const { result } = await finished(rounds(served, { stages: once(), clients: all, secure, own: party(served) }));
    await served.server.end({ how: 'finished', why: '' }, 10);
    await Promise.all(taking);
    expect(bits(result)).toEqual(bits(await simulated(without(once(), ['ben']))));
    expect(result.stages[0]!.rounds[0]).toMatchObject({
      participants: everybody.filter((name) => name !== 'ben'),
      leftOut: [{ client: 'ben', reason: 'left the secure sum at “masked”: the battery is empty' }],
    });
  });

  test('go on without these rows where the work on them fails, and say why', async () => {
    const folder = tools.folder();
    const served = await tools.serve(folder, options);
    const taking = all.map((name) => tools.takesPart(served.server, folder, name, { stages: once(), sums: same }));
    const { result } = await finished(rounds(served, { stages: once(), clients: all, secure, own: failing }));
    await served.server.end({ how: 'finished', why: '' }, 10);
    await Promise.all(taking);
    expect(bits(result)).toEqual(bits(await simulated(without(once(), ['proxy']))));
    expect(result.stages[0]!.leftOut).toMatchObject([{ client: 'proxy', reason: 'the thread ended' }]);
  });

  test('need them beside three clients, all of whom have to be there', async () => {
    const folder = tools.folder();
    const served = await tools.serve(folder, { ownSums: secure });
    const taking = names.map((name) => tools.takesPart(served.server, folder, name, { stages: once(), sums: same }));
    const error = await finished(rounds(served, { stages: once(), secure, own: failing })).catch((e: unknown) => e);
    await served.server.end({ how: 'stopped', why: '' }, 10);
    await Promise.all(taking);
    expect((error as Error).message).toMatch(
      /has 3 update\(s\) of 3 client\(s\), and secure aggregation takes at least 4 with the server’s own\.[^]*proxy: the thread ended/,
    );
  });

  test.each(secureStages)('are held anew since the server is killed at “%s”, with the same identity', async (stage) => {
    const folder = tools.folder();
    const served = await tools.serve(folder, options);
    const { serverIdentity: before } = await tools.api(served.server.url).describe();
    const own = await joined(served.server);
    const events = new Map(all.map((name) => [name, [] as TakingPart[]]));
    const control = new AbortController();
    const { signal } = control;
    const going = finished(rounds(served, { stages: once(), clients: all, secure, signal, own: party(served) })).catch(
      (e: unknown) => e,
    );
    const playing = all.map((name) =>
      lives({ server: served.server, folder, signal }, name, own.get(name)!, events.get(name)!, {
        until: (event) => {
          // The first that is asked kills everybody, the server first.
          if (isSum(stage)(event)) control.abort();
          return signal.aborted;
        },
      }),
    );
    await Promise.all([going, ...playing]);
    await served.close();

    let told: string | undefined;
    const { result } = await resumed(folder, own, events, {
      options,
      party(again) {
        told = again.server.store.identities().get('proxy');
        return party(again);
      },
    });
    expect(bits(result)).toEqual(bits(await simulated(once())));
    expect(result.stages[0]!.rounds[0]!.participants).toEqual(everybody);
    expect(told).toMatch(/^[\w-]{43}$/);
    expect(told).toBe(before);
    for (const name of all) expect(work(events.get(name)!)).toHaveLength(1);
    expect(sessions([...events.values()].flat()).size).toBe(2);
  });
});
