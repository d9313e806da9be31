import { describe, expect, test } from 'vitest';
import { cuttingProxy } from '../../../tests/support/cutting-proxy.ts';
import { finished, journalIn, layout, run } from '../../../tests/support/federation.ts';
import {
  all,
  bits,
  hex,
  leaving,
  once,
  same,
  secureTools,
  seven,
  without,
} from '../../../tests/support/secure-sums.ts';
import { rounds } from '../../../tests/support/served.ts';
import { averaging, local } from '../../../tests/support/stages.ts';
import type { Stage } from '../../methods/stage.ts';
import { stream } from '../../tensor/random.ts';
import { openDatabase } from '../database.ts';
import { defaultSecureSettings as secure } from '../secure/combiner.ts';
import { secureStages } from '../secure/messages.ts';

const { tools, simulated } = secureTools();

describe('secure sums over HTTP', () => {
  test('end with the simulation’s bits; of a client the server learns neither update, weight nor loss', async () => {
    const stages = (): Stage[] => [
      averaging(layout, { rounds: 2, steps: 2 }),
      averaging(layout, { name: 'second', rounds: 1, steps: 1 }),
      local(layout, { steps: 1 }),
    ];
    const simulation = journalIn(tools.folder());
    const { result } = await finished(run(simulation, { stages: stages(), clients: seven, secure }));

    const folder = tools.folder();
    const served = await tools.serve(folder, { clients: all });
    const taking = all.map((name) => tools.takesPart(served.server, folder, name, { stages: stages(), sums: same }));
    const there = await finished(rounds(served, { stages: stages(), clients: all, secure }));
    await served.server.end({ how: 'finished', why: '' }, 10);
    const ended = await Promise.all(taking);

    expect(bits(there.result)).toEqual(bits(result));
    for (const [i, stage] of result.stages.entries()) {
      const other = there.result.stages[i]!;
      expect([...other.traffic]).toEqual([...stage.traffic]);
      for (const [k, round] of stage.rounds.entries()) {
        expect(other.rounds[k]).toMatchObject({ participants: round.participants, leftOut: [] });
        // Nothing is added up in the last stage, so that nobody knows.
        const known = i < 2;
        expect(other.rounds[k]).toMatchObject(
          known ? { tokens: round.tokens, processed: round.processed } : { tokens: 0 },
        );
        if (known) expect(other.rounds[k]!.trainLoss).toBeCloseTo(round.trainLoss!, 4);
        for (const record of served.journal.clients(other, k)) expect(record).toMatchObject({ tokens: 0, loss: null });
      }
      for (const [k, name] of all.entries())
        expect(hex(ended[k]!.state.privateState(other)!)).toBe(hex(simulation.privateState(stage, name)!));
    }
    expect(there.events.filter(({ kind }) => kind === 'progress')).toEqual([]);
    await served.close();
    const record = openDatabase(`${folder}/server/server.sqlite`);
    const results = record.all('select stage, result, digest from tasks').map((row) => ({ ...row }));
    record.close();
    expect(results).toHaveLength(7 * 4);
    const totals = { step: 0, steps: 0, tokens: 0, processed: 0, lossSum: 0 };
    for (const { stage, result: told, digest } of results) {
      expect(digest).toBeNull();
      expect(JSON.parse(String(told))).toEqual({ digest: null, weight: stage === 2 ? 1 : null, seconds: 0, totals });
    }
  });

  test('take connections that are cut, in requests and in answers, for nothing more', async () => {
    const folder = tools.folder();
    const served = await tools.serve(folder, { clients: all });
    const proxy = await cuttingProxy(served.server.url, stream(7, 'cuts'), 9000);
    try {
      const at = { url: proxy.url, stages: once(), sums: same };
      const taking = all.map((name) => tools.takesPart(served.server, folder, name, at));
      const { result } = await finished(rounds(served, { stages: once(), clients: all, secure }));
      await served.server.end({ how: 'finished', why: '' }, 20);
      await Promise.all(taking);
      expect(bits(result)).toEqual(bits(await simulated(seven, once())));
      expect(result.stages[0]!.leftOut).toEqual([]);
      expect(proxy.cuts()).toBeGreaterThan(5);
    } finally {
      await proxy.close();
    }
  });

  test.each(secureStages)('go on without clients that leave at “%s”', async (stage) => {
    const gone = ['ben', 'fay'];
    const masked = secureStages.indexOf(stage) > secureStages.indexOf('masked');
    const expected = await simulated(seven, without(once(), masked ? [] : gone));
    const folder = tools.folder();
    const served = await tools.serve(folder, { clients: all });
    const taking = all.map((name) =>
      tools.takesPart(served.server, folder, name, {
        stages: once(),
        sums: gone.includes(name) ? leaving(stage) : same,
      }),
    );
    const { result } = await finished(rounds(served, { stages: once(), clients: all, secure }));
    await served.server.end({ how: 'finished', why: '' }, 10);
    await Promise.all(taking);
    expect(bits(result)).toEqual(bits(expected));
    const reason = `left the secure sum at “${stage}”: the battery is empty`;
    expect(result.stages[0]!.rounds[0]).toMatchObject({
      participants: masked ? all : all.filter((name) => !gone.includes(name)),
      leftOut: masked ? [] : gone.map((client) => ({ client, reason })),
    });
  });
});
