import { expect, onTestFinished, test } from 'vitest';
import { finished, layout } from '../../../tests/support/federation.ts';
import { federationTools, names, rounds, workerOf } from '../../../tests/support/served.ts';
import { averaging } from '../../../tests/support/stages.ts';
import { reach } from './client/reach.ts';
import { takePart } from './client/take-part.ts';
import { PROTOCOL } from './protocol.ts';
import { newSecret } from './server/keys.ts';

const tools = federationTools();
const one = [averaging(layout, { rounds: 1, steps: 1 })];
const counts = { train: 3, validation: 0, test: 0, labelledTokens: 100 };

test.each(['polling', 'a WebSocket'])(
  'a client that the server does not know the rows of is told so over %s, says them again, and takes part',
  async (how) => {
    const folder = tools.folder();
    const served = await tools.serve(folder);
    const { url, run } = served.server;
    const key = newSecret();
    const request = { protocol: PROTOCOL, fedlora: '1', run, key };
    await tools.api(url).join(request, tools.token(served.server, 'ann'));
    const api = tools.api(url, key);
    await expect(api.next(0)).rejects.toMatchObject({ status: 409, code: 'not-ready' });
    const reached = reach(api, { url, key, signal: tools.signal });
    onTestFinished(() => reached.close());
    const state = await tools.state(served.server, folder, 'ann');
    let times = 0;
    const announce = (): Promise<void> => {
      times++;
      return api.ready(counts);
    };
    const part = { state, worker: workerOf('ann', one), signal: tools.signal, beat: 0.05 };
    const taking = takePart({ ...part, api: how === 'polling' ? api : reached, announce });
    const ended = (async () => {
      for (;;) {
        const next = await taking.next();
        if (next.done) return next.value.how;
      }
    })();
    await expect.poll(() => served.server.store.client('ann')?.data).toEqual(counts);
    const others = names
      .filter((name) => name !== 'ann')
      .map((name) => tools.takesPart(served.server, folder, name, { stages: one }));
    const { result } = await finished(rounds(served, { stages: one }));
    await served.server.end({ how: 'finished', why: '' }, 60);
    expect(await ended).toBe('finished');
    await Promise.all(others);
    expect(times).toBe(1);
    expect(result.stages[0]!.rounds[0]!.participants).toEqual(names);
  },
);
