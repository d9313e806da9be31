import { randomBytes } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { collect } from '../../../tests/support/collect.ts';
import { finished } from '../../../tests/support/federation.ts';
import { all, once, same, secureTools } from '../../../tests/support/secure-sums.ts';
import { described, rounds, workerOf } from '../../../tests/support/served.ts';
import { defaultSecureSettings as secure } from '../secure/combiner.ts';
import { keyPair } from '../secure/keys.ts';
import { digestOf } from './client/api.ts';
import { sumParty, type SumParty } from './client/sums.ts';
import { takePart } from './client/take-part.ts';
import { PROTOCOL } from './protocol.ts';
import type { SumAnswer } from './sum-protocol.ts';

const { tools } = secureTools();
const nothing = { step: 0, steps: 0, tokens: 0, processed: 0, lossSum: 0 };

describe('a server refuses', () => {
  test('what is no answer to its question, and waits on', async () => {
    const folder = tools.folder();
    const served = await tools.serve(folder, { clients: all });
    const { server } = served;
    const others = all.filter((name) => name !== 'ann');
    const taking = others.map((name) => tools.takesPart(server, folder, name, { stages: once(), sums: same }));
    const identity = keyPair('ed25519', new Uint8Array(randomBytes(32)));
    const { api, key } = await tools.joined(server, 'ann', server.url, identity);
    const going = finished(rounds(served, { stages: once(), clients: all, secure }));
    const state = await tools.state(server, folder, 'ann');
    const party = sumParty({ identity, settings: secure, state });
    const tried: [string, unknown][] = [];
    const refused = (what: string, request: Promise<unknown>): Promise<unknown> =>
      request.then(
        () => tried.push([what, 'taken']),
        (error: unknown) => tried.push([what, (error as { code?: string }).code]),
      );
    const post = async (id: string, body: unknown): Promise<string> => {
      const response = await fetch(`${server.url}/v1/tasks/${id}/secure`, {
        method: 'POST',
        headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
        body: JSON.stringify(body),
      });
      return ((await response.json()) as { error: { code: string } }).error.code;
    };
    const probing: SumParty = {
      ...party,
      async answer(task, message) {
        const right = await party.answer(task, message);
        const { id, stage } = task;
        const answer = right.answer as Record<string, unknown>;
        if (stage === 'advert') {
          await refused('another sender', api.contribute(id, { ...right.answer, from: 3 }));
          tried.push(['more fields', await post(id, { ...answer, weight: 3 })]);
          tried.push(['a short key', await post(id, { ...answer, maskKey: String(answer['maskKey']).slice(1) })]);
          tried.push(['another key', await post(id, { ...answer, maskKey: answer['sealKey'] })]);
          tried.push(['too large', await post(id, { ...answer, signature: 'A'.repeat(70_000) })]);
          tried.push(['another stage', await post(id, { kind: 'vouch', from: 0, signature: answer['signature'] })]);
          await refused('an upload', api.upload('0'.repeat(64), new Uint8Array(8)));
          await refused('no task', api.contribute('0'.repeat(32), right.answer));
          await refused('an update', api.submit(id, { digest: null, weight: 1, seconds: 0, totals: nothing }));
        }
        if (stage === 'masked') {
          await refused('no upload', api.contribute(id, right.answer));
          const long = new Uint8Array([...right.upload!, 0]);
          await refused('a long vector', api.upload(digestOf(long), long));
          const short = right.upload!.slice(8);
          await api.upload(digestOf(short), short);
          await refused(
            'a short vector',
            api.contribute(id, { ...right.answer, digest: digestOf(short) } as SumAnswer),
          );
        }
        return right;
      },
    };
    const telling: typeof api = {
      ...api,
      async submit(id, message) {
        await refused('its weight', api.submit(id, { ...message, weight: 3 }));
        return api.submit(id, message);
      },
    };
    const part = takePart({
      api: telling,
      state,
      worker: workerOf('ann', once()),
      signal: tools.signal,
      beat: 1,
      sums: probing,
    });
    const ann = collect(part);
    const { result } = await going;
    await server.end({ how: 'finished', why: '' }, 10);
    await Promise.all([ann, ...taking]);
    expect(result.stages[0]!.rounds[0]!.participants).toEqual(all);
    expect(tried).toEqual([
      ['its weight', 'weight'],
      ['another sender', 'secure'],
      ['more fields', 'message'],
      ['a short key', 'message'],
      ['another key', 'secure'],
      ['too large', 'too-large'],
      ['another stage', 'secure'],
      ['an upload', 'no-task'],
      ['no task', 'task'],
      ['an update', 'task'],
      ['no upload', 'not-uploaded'],
      ['a long vector', 'too-large'],
      ['a short vector', 'secure'],
    ]);
  });

  test('an identity of another client, another one of the same, and none where sums are secure', async () => {
    const config = { combine: 'secure' };
    const { server } = await tools.serve(tools.folder(), { clients: all, description: { ...described, config } });
    const identity = keyPair('ed25519', new Uint8Array(randomBytes(32)));
    await expect(tools.joined(server, 'ann')).rejects.toThrow('send the public key of your identity');
    const token = tools.token(server, 'ann');
    const { key } = await tools.joined(server, 'ann', server.url, identity);
    const other = Buffer.from(randomBytes(32)).toString('base64url');
    const request = { protocol: PROTOCOL, fedlora: '1', run: server.run, key, identity: other };
    await expect(tools.api(server.url).join(request, token)).rejects.toThrow('was registered before');
    await expect(tools.joined(server, 'ben', server.url, identity)).rejects.toThrow('was registered before');
    expect([...server.store.identities().keys()]).toEqual(['ann']);
  });
});
