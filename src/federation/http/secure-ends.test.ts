import { once as next } from 'node:events';
import { describe, expect, test } from 'vitest';
import { finished } from '../../../tests/support/federation.ts';
import {
  all,
  bits,
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
import { described, rounds } from '../../../tests/support/served.ts';
import { RoundFailed } from '../fatal.ts';
import { defaultSecureSettings as secure } from '../secure/combiner.ts';
import type { TakingPart } from './client/take-part.ts';

const { tools, simulated, joined, lives, resumed } = secureTools();

describe('a conversation that ends early', () => {
  test('below the threshold ends the round with the reason; then it is held anew, and nobody trains again', async () => {
    const folder = tools.folder();
    const served = await tools.serve(folder, { clients: all });
    const own = await joined(served.server);
    const events = new Map(all.map((name) => [name, [] as TakingPart[]]));
    const gone = ['ben', 'dee', 'fay'];
    const first = new AbortController();
    const playing = all.map((name) =>
      lives({ server: served.server, folder, signal: first.signal }, name, own.get(name)!, events.get(name)!, {
        sums: gone.includes(name) ? leaving('masked') : same,
      }),
    );
    const failed = await finished(rounds(served, { stages: once(), clients: all, secure })).catch((e: unknown) => e);
    expect(failed).toBeInstanceOf(RoundFailed);
    expect((failed as Error).message).toBe(
      'secure aggregation: 4 of 7 clients are left after “masked”, and 5 are needed; ' +
        gone.map((name) => `${name} left the secure sum at “masked”: the battery is empty`).join('; ') +
        '. Everything before this round is kept; --resume tries it again.',
    );
    first.abort();
    await Promise.all(playing);
    await served.close();

    const { result } = await resumed(folder, own, events);
    expect(bits(result)).toEqual(bits(await simulated(seven, once())));
    for (const name of all) expect(work(events.get(name)!)).toHaveLength(1);
    expect(sessions([...events.values()].flat()).size).toBe(2);
  });

  test.each(['shares', 'reveal'] as const)('since the server is killed at “%s” is held anew', async (stage) => {
    const folder = tools.folder();
    const served = await tools.serve(folder, { clients: all });
    const own = await joined(served.server);
    const events = new Map(all.map((name) => [name, [] as TakingPart[]]));
    const control = new AbortController();
    const { signal } = control;
    const going = finished(rounds(served, { stages: once(), clients: all, secure, signal })).catch((e: unknown) => e);
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

    const { result } = await resumed(folder, own, events);
    expect(bits(result)).toEqual(bits(await simulated(seven, once())));
    for (const name of all) expect(work(events.get(name)!)).toHaveLength(1);
    expect(sessions([...events.values()].flat()).size).toBe(2);
  });

  test('once signed is held anew without those who were not in it, though they are back', async () => {
    const folder = tools.folder();
    const served = await tools.serve(folder, { clients: all });
    const own = await joined(served.server);
    const events = new Map(all.map((name) => [name, [] as TakingPart[]]));
    const control = new AbortController();
    const { signal } = control;
    const going = finished(rounds(served, { stages: once(), clients: all, secure, signal })).catch((e: unknown) => e);
    const playing = all.map((name) =>
      lives({ server: served.server, folder, signal }, name, own.get(name)!, events.get(name)!, {
        sums: name === 'cho' ? leaving('masked') : same,
        until: (event) => {
          // All six have signed.
          if (isSum('reveal')(event)) control.abort();
          return signal.aborted;
        },
      }),
    );
    await Promise.all([going, ...playing]);
    await served.close();

    const { result } = await resumed(folder, own, events);
    expect(bits(result)).toEqual(bits(await simulated(seven, without(once(), ['cho']))));
    expect(result.stages[0]!.leftOut).toMatchObject([
      { client: 'cho', reason: 'a sum of this round was signed by others while it was away' },
    ]);
  });

  test('waits for clients no longer than a stage’s deadline, and than their lease where nothing is heard of them', async () => {
    const folder = tools.folder();
    const description = { ...described, lease: 6 };
    const served = await tools.serve(folder, { clients: all, description, sumDeadline: 12 });
    const { server } = served;
    const own = await joined(server);
    const over = new AbortController();
    const at = { server, folder, signal: tools.signal };
    const playing = all.map((name) =>
      lives(at, name, own.get(name)!, [], {
        // fay is never heard of again; ben gives signs of life, and no answer.
        until: (event) => name === 'fay' && isSum('masked')(event),
        sums: (party) => ({
          ...party,
          async answer(task, message) {
            if (name === 'ben' && task.stage === 'masked') await next(over.signal, 'abort');
            return party.answer(task, message);
          },
        }),
      }),
    );
    const { result } = await finished(rounds(served, { stages: once(), clients: all, secure }));
    over.abort();
    await server.end({ how: 'finished', why: '' }, 2);
    await Promise.all(playing);
    expect(bits(result)).toEqual(bits(await simulated(seven, without(once(), ['ben', 'fay']))));
    expect(result.stages[0]!.leftOut.map(({ client, reason }) => [client, reason])).toEqual([
      ['ben', 'left the secure sum at “masked”: did not answer within 12 s'],
      ['fay', 'left the secure sum at “masked”: was not heard from for 6 s'],
    ]);
  });

  test('for a client that is killed goes on without it: its secrets died with it', async () => {
    const folder = tools.folder();
    const served = await tools.serve(folder, { clients: all });
    const { server } = served;
    const own = await joined(server);
    const events = new Map(all.map((name) => [name, [] as TakingPart[]]));
    const at = { server, folder, signal: tools.signal };
    const playing = all.map(async (name) => {
      const list = events.get(name)!;
      if (name === 'cho') await lives(at, name, own.get(name)!, list, { until: isSum('masked') });
      await lives(at, name, own.get(name)!, list);
    });
    const { result } = await finished(rounds(served, { stages: once(), clients: all, secure }));
    await server.end({ how: 'finished', why: '' }, 10);
    await Promise.all(playing);
    expect(bits(result)).toEqual(bits(await simulated(seven, without(once(), ['cho']))));
    const [{ reason } = { reason: '' }] = result.stages[0]!.leftOut;
    expect(reason).toBe('left the secure sum at “masked”: this client was started again since: its secrets are gone');
    expect(events.get('cho')!.filter(({ kind }) => kind === 'refused')).toHaveLength(1);
  });
});
