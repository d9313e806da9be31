import { describe, expect, test } from 'vitest';
import { collect } from '../../../tests/support/collect.ts';
import { heldRound, message, raw, refused, send, traces } from '../../../tests/support/held-round.ts';
import { federationTools, names, rounds, trainingTask } from '../../../tests/support/served.ts';
import { mapTensors } from '../../tensor/tensors.ts';
import { digestOf } from './client/api.ts';
import { fromPayload, toPayload } from './payload.ts';
import { newSecret } from './server/keys.ts';

const tools = federationTools();

describe('an update that does not fit is refused in words, and changes nothing', () => {
  test('one that is not what the task asks for', async () => {
    const at = await heldRound(tools);
    const before = traces(at);
    const { sent } = at;
    const [first, ...others] = [...sent.keys()];
    const poisoned = mapTensors(sent, ({ shape, data }, name) => ({
      shape,
      data: data.map((value, i) => (name === first && i === 1 ? NaN : value)),
    }));
    const flat = mapTensors(sent, ({ data }) => ({ shape: [data.length], data }));
    const fewer = new Map([...sent].filter(([name]) => others.includes(name)));

    expect(await refused(send(at, poisoned))).toMatchObject({
      status: 422,
      message: `tensor “${first}” of its update holds NaN or infinity`,
    });
    expect(await refused(send(at, flat))).toMatchObject({ status: 422, code: 'shapes' });
    expect(await refused(send(at, fewer))).toMatchObject({ status: 422, code: 'shapes' });
    expect(await refused(at.ann.api.submit(at.task.id, message(null)))).toMatchObject({
      status: 422,
      code: 'no-tensors',
    });
    const never = digestOf(Uint8Array.of(1));
    expect(await refused(at.ann.api.submit(at.task.id, message(never)))).toMatchObject({
      status: 409,
      code: 'not-uploaded',
    });
    expect(await refused(send(at, sent, { weight: 0 }))).toMatchObject({ status: 422, code: 'message' });
    expect(await refused(send(at, sent, { weight: 1000 }))).toMatchObject({ status: 422, code: 'weight' });
    const garbage = new TextEncoder().encode('this is no safetensors file');
    await at.ann.api.upload(digestOf(garbage), garbage);
    expect(await refused(at.ann.api.submit(at.task.id, message(digestOf(garbage))))).toMatchObject({
      status: 422,
      code: 'payload',
    });
    expect(traces(at)).toEqual(before);

    // The same task takes the right update after all that.
    expect(await send(at, sent)).toEqual({ outcome: 'received' });
    await at.stop();
  });

  test('bytes with another digest, too many of them, out of order, or from nobody', async () => {
    const at = await heldRound(tools);
    const before = traces(at);
    const bytes = toPayload(at.sent);
    const put = (digest: string, range: string, body: Uint8Array, key?: string): Promise<Response> =>
      raw(at, `uploads/${digest}`, { method: 'PUT', headers: { 'content-range': range }, body: body as BodyInit }, key);
    const whole = `bytes 0-${bytes.length - 1}/${bytes.length}`;

    const other = await put('a'.repeat(64), whole, bytes);
    expect(other.status).toBe(422);
    expect(await other.text()).toContain(digestOf(bytes));
    expect(await at.ann.api.outcome(at.task.id)).toEqual({ outcome: 'open' });

    const huge = await put('b'.repeat(64), 'bytes 0-9/1000000000', bytes.subarray(0, 10));
    expect(huge.status).toBe(413);
    expect(await huge.json()).toMatchObject({ error: { code: 'too-large' } });

    const digest = digestOf(bytes);
    expect((await put(digest, `bytes 0-9/${bytes.length}`, bytes.subarray(0, 10))).status).toBe(200);
    const gap = await put(digest, `bytes 20-29/${bytes.length}`, bytes.subarray(20, 30));
    expect([gap.status, await gap.json()]).toMatchObject([409, { error: { code: 'order' }, received: 10 }]);
    expect((await put(digest, `bytes 10-19/${bytes.length}`, bytes.subarray(0, 5))).status).toBe(411);
    expect((await put(digest, 'bytes=0-4', bytes.subarray(0, 5))).status).toBe(400);
    expect((await put('../../journal', whole, bytes)).status).toBeOneOf([400, 404]);
    expect((await put(digest, whole, bytes, newSecret())).status).toBe(401);
    expect(traces(at)).toEqual(before);
    // Ann's beginning is still hers alone, and goes on.
    expect(await (await raw(at, `uploads/${digest}`, {}, at.ben.key)).json()).toEqual({ received: 0, complete: false });
    expect(await send(at, at.sent)).toEqual({ outcome: 'received' });
    await at.stop();
  });

  test('one that comes too late is told why', async () => {
    const folder = tools.folder();
    const served = await tools.serve(folder);
    const [ann, ben, cho] = await Promise.all(names.map((name) => tools.joined(served.server, name)));
    const running = collect(rounds(served, { deadline: 2 })).catch((error: unknown) => error);
    const [mine] = await Promise.all(
      [ann!, ben!, cho!].map(async ({ api }, i) => {
        const task = await trainingTask(api);
        if (i === 0) return task;
        const bytes = await api.download(task.sent!);
        await api.upload(digestOf(bytes), bytes);
        await api.submit(task.id, message(digestOf(bytes)));
        return task;
      }),
    );
    // The next round has begun without ann.
    for (let i = 0; served.journal.rounds(mine!.place).length === 0 && i < 400; i++)
      await new Promise((done) => setTimeout(done, 25));
    const reason = 'took longer than the deadline of 2 s';
    expect(await ann!.api.outcome(mine!.id)).toEqual({ outcome: 'refused', reason });
    const bytes = toPayload(fromPayload(await ann!.api.download((await trainingTask(ann!.api)).sent!), 'sent'));
    await ann!.api.upload(digestOf(bytes), bytes);
    expect(await refused(ann!.api.submit(mine!.id, message(digestOf(bytes))))).toEqual({
      status: 409,
      code: 'late',
      message: reason,
    });
    expect(served.journal.rounds(mine!.place)[0]).toMatchObject({
      participants: ['ben', 'cho'],
      leftOut: [{ client: 'ann', reason }],
    });
    const readiness = async (): Promise<number> => (await fetch(`${served.server.url}/v1/readiness`)).status;
    expect(await readiness()).toBe(200);
    await served.server.end({ how: 'stopped', why: 'the test is over' }, 0);
    expect(await readiness()).toBe(503);
    expect(await ann!.api.next(20)).toEqual({ kind: 'over', how: 'stopped', why: 'the test is over' });
    await running;
  });
});
