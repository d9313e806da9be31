import { readFileSync, writeFileSync } from 'node:fs';
import { createServer, request as ask } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { expect, onTestFinished, test, vi } from 'vitest';
import { finished, journalIn, layout, run } from '../../../tests/support/federation.ts';
import { described, federationTools, names, rounds, three, workerOf } from '../../../tests/support/served.ts';
import { averaging } from '../../../tests/support/stages.ts';
import { encodeState } from '../../tensor/encode.ts';
import { takePart, type TakingPart } from './client/take-part.ts';
import { noTotals, type TrainMessage } from './protocol.ts';

// What scripts/chaos has found, each in a few lines.
const tools = federationTools();
const hex = (state: Parameters<typeof encodeState>[0]): string => Buffer.from(encodeState(state)).toString('hex');
const once = () => [averaging(layout, { rounds: 2, steps: 1 })];

async function simulated(): Promise<string> {
  const { result } = await finished(run(journalIn(tools.folder()), { stages: once(), clients: three }));
  return hex(result.stages[0]!.shared);
}

test('an acknowledged update whose tensors the disk has changed is asked for again, and nobody trains anew', async () => {
  const folder = tools.folder();
  const served = await tools.serve(folder);
  const control = new AbortController();
  const going = finished(rounds(served, { stages: once(), signal: control.signal })).catch((error: unknown) => error);
  const { api, key } = await tools.joined(served.server, 'ann');
  const others = await Promise.all(['ben', 'cho'].map((name) => tools.joined(served.server, name)));
  const state = await tools.state(served.server, folder, 'ann');
  const taking = takePart({ api, state, worker: workerOf('ann', once()), signal: control.signal, beat: 1 });
  for (let kind = ''; kind !== 'sent';) kind = ((await taking.next()).value as TakingPart).kind;
  const [{ message, id }] = state.undecided() as [ReturnType<typeof state.undecided>[number]];
  control.abort();
  await going;
  await served.close();
  const path = join(folder, 'server', 'payloads', message.digest!);
  const bytes = readFileSync(path);
  bytes[bytes.length - 1]! ^= 1;
  writeFileSync(path, bytes);

  const again = await tools.serve(folder);
  // Whoever asks in between hears nothing else than that it is here, or open.
  const heard = new Set<string>();
  const asking = new AbortController();
  const asks = (async () => {
    while (!asking.signal.aborted) heard.add((await tools.api(again.server.url, key).outcome(id)).outcome);
  })();
  const worked: string[] = [];
  const parts = names.map(async (name, i) => {
    const own = name === 'ann' ? state : await tools.state(again.server, folder, name);
    const api = tools.api(again.server.url, name === 'ann' ? key : others[i - 1]!.key);
    const part = takePart({ api, state: own, worker: workerOf(name, once()), signal: tools.signal, beat: 1 });
    for await (const event of part)
      if (event.kind === 'task' && event.task.kind === 'train') worked.push(`${name} ${event.task.round + 1}`);
  });
  const { result } = await finished(rounds(again, { stages: once() }));
  asking.abort();
  await asks;
  await again.server.end({ how: 'finished', why: '' }, 10);
  await Promise.all(parts);
  expect([...heard].filter((one) => !['received', 'open', 'accepted'].includes(one))).toEqual([]);
  expect(hex(result.stages[0]!.shared)).toBe(await simulated());
  expect(worked.sort()).toEqual(['ann 2', 'ben 1', 'ben 2', 'cho 1', 'cho 2']);
  expect(again.server.store.auditLines().filter(({ what }) => what === 'damaged')).toMatchObject([{ client: 'ann' }]);
  expect(await again.server.blobs.kept()).toEqual({ files: 0, bytes: 0 });
});

test('a server that was started again ends no work that it has not come to yet, and takes what was finished meanwhile', async () => {
  const folder = tools.folder();
  const served = await tools.serve(folder);
  const control = new AbortController();
  const going = finished(rounds(served, { stages: once(), signal: control.signal })).catch((error: unknown) => error);
  const keys = await Promise.all(names.map(async (name) => (await tools.joined(served.server, name)).key));
  const worked: string[] = [];
  const { url } = served.server;
  const ids = new Map<string, string>();
  let open!: () => void;
  const gate = new Promise<void>((done) => (open = done));
  const taking = names.map(async (name, i) => {
    const state = await tools.state(served.server, folder, name);
    const worker = workerOf(name, once());
    const part = takePart({
      api: tools.api(url, keys[i]),
      state,
      worker: {
        ...worker,
        async *train(...task) {
          const done = yield* worker.train(...task);
          if (task[0].round === 0) {
            ids.set(name, task[0].id);
            await gate;
          }
          return done;
        },
      },
      signal: tools.signal,
      beat: 0.02,
    });
    for await (const event of part)
      if (event.kind === 'task' && event.task.kind === 'train') worked.push(`${name} ${event.task.round + 1}`);
  });
  while (ids.size < names.length) await setTimeout(5);
  control.abort();
  await going;
  await served.close();
  const again = await tools.serve(folder, { port: Number(new URL(url).port) });
  const early = tools.api(url, keys[0]);
  const id = ids.get(names[0]!)!;
  await expect(early.progress(id, noTotals)).rejects.toMatchObject({ status: 425, code: 'early' });
  await expect(early.outcome(id)).rejects.toMatchObject({ status: 425 });
  // Signs of life have come by, and then all of it is finished, before the round is under way.
  await setTimeout(400);
  open();
  await setTimeout(300);
  const { result } = await finished(rounds(again, { stages: once() }));
  await again.server.end({ how: 'finished', why: '' }, 10);
  await Promise.all(taking);
  expect(hex(result.stages[0]!.shared)).toBe(await simulated());
  expect(worked.sort()).toEqual(names.flatMap((name) => [`${name} 1`, `${name} 2`]));
});

test('work that is finished while the run stops is kept, and counts once the run goes on', async () => {
  const folder = tools.folder();
  const served = await tools.serve(folder);
  const control = new AbortController();
  const going = finished(rounds(served, { stages: once(), signal: control.signal })).catch((error: unknown) => error);
  const keys = await Promise.all(names.map(async (name) => (await tools.joined(served.server, name)).key));
  const states = await Promise.all(names.map((name) => tools.state(served.server, folder, name)));
  const { url } = served.server;
  let training = 0;
  let open!: () => void;
  const gate = new Promise<void>((done) => (open = done));
  const worked: string[] = [];
  // The first has its update ready, the others are in the midst of theirs.
  const taking = names.map(async (name, i) => {
    const worker = workerOf(name, once());
    const held: typeof worker = {
      ...worker,
      async *train(...task) {
        training++;
        if (i > 0) {
          yield { step: 1, steps: 2, loss: 1, tokens: 1, processed: 1 };
          await new Promise((_, reject) => task[3].addEventListener('abort', () => reject(task[3].reason as Error)));
        }
        const done = yield* worker.train(...task);
        await gate;
        return done;
      },
    };
    const beat = i === 0 ? 60 : 0.02;
    const part = takePart({
      api: tools.api(url, keys[i]),
      state: states[i]!,
      worker: held,
      signal: tools.signal,
      beat,
    });
    for (;;) {
      const next = await part.next();
      if (next.done) return next.value;
      if (next.value.kind === 'task') worked.push(`${name} ${(next.value.task as TrainMessage).round + 1}`);
    }
  });
  while (training < names.length) await setTimeout(5);
  control.abort();
  await going;
  const ended = served.server.end({ how: 'stopped', why: 'too few updates' }, 10);
  open();
  expect(await Promise.all(taking)).toEqual(names.map(() => ({ how: 'stopped', why: 'too few updates' })));
  await ended;
  await served.close();
  expect(states.map((state) => state.undecided().length)).toEqual([1, 0, 0]);

  const again = await tools.serve(folder, { port: Number(new URL(url).port) });
  const parts = names.map(async (name, i) => {
    const [api, state] = [tools.api(url, keys[i]), states[i]!];
    const part = takePart({ api, state, worker: workerOf(name, once()), signal: tools.signal, beat: 1 });
    for await (const event of part)
      if (event.kind === 'task') worked.push(`${name} ${(event.task as TrainMessage).round + 1}`);
  });
  const { result } = await finished(rounds(again, { stages: once() }));
  await again.server.end({ how: 'finished', why: '' }, 10);
  await Promise.all(parts);
  expect(hex(result.stages[0]!.shared)).toBe(await simulated());
  expect(worked.sort()).toEqual(['ann 1', 'ann 2', 'ben 1', 'ben 1', 'ben 2', 'cho 1', 'cho 1', 'cho 2']);
});

test('a clock that jumps by a day makes nobody late', async () => {
  const folder = tools.folder();
  const served = await tools.serve(folder, { description: { ...described, lease: 20 } });
  const real = Date.now.bind(Date);
  onTestFinished(() => void vi.restoreAllMocks());
  let jumped = 0;
  vi.spyOn(Date, 'now').mockImplementation(() => real() + jumped);
  const clock = setInterval(() => (jumped = jumped === 0 ? 8.64e7 : 0), 5);
  const taking = names.map((name) => tools.takesPart(served.server, folder, name, { stages: once() }));
  const { result } = await finished(rounds(served, { stages: once() }));
  await served.server.end({ how: 'finished', why: '' }, 10);
  await Promise.all(taking);
  clearInterval(clock);
  expect(result.stages[0]!.leftOut).toEqual([]);
  expect(hex(result.stages[0]!.shared)).toBe(await simulated());
});

test('an upload that is changed on its way is sent again', async () => {
  const folder = tools.folder();
  const served = await tools.serve(folder);
  const proxy = await changing(served.server.url);
  const taking = names.map((name) => tools.takesPart(served.server, folder, name, { stages: once(), url: proxy.url }));
  const { result } = await finished(rounds(served, { stages: once() }));
  await served.server.end({ how: 'finished', why: '' }, 10);
  await Promise.all(taking);
  expect(proxy.changed()).toBe(3);
  expect(result.stages[0]!.leftOut).toEqual([]);
  expect(hex(result.stages[0]!.shared)).toBe(await simulated());
});

/** Hands requests on, and changes a bit of the first three uploads. */
async function changing(url: string): Promise<{ readonly url: string; changed(): number }> {
  let changed = 0;
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const body = Buffer.concat(chunks);
      if (request.method === 'PUT' && changed < 3) {
        changed++;
        body[body.length - 1]! ^= 1;
      }
      const to = new URL(request.url!, url);
      const handed = ask(to, { method: request.method!, headers: request.headers, agent: false }, (answer) => {
        response.writeHead(answer.statusCode!, answer.headers);
        answer.pipe(response);
      });
      handed.on('error', () => response.destroy());
      handed.end(body);
    });
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, changed: () => changed };
}
