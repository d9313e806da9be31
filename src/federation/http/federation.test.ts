import { describe, expect, test } from 'vitest';
import { finished, journalIn, layout, run } from '../../../tests/support/federation.ts';
import { described, federationTools, names, rounds, stages, three, workerOf } from '../../../tests/support/served.ts';
import { cuttingProxy } from '../../../tests/support/cutting-proxy.ts';
import { averaging } from '../../../tests/support/stages.ts';
import { encodeState } from '../../tensor/encode.ts';
import { stream } from '../../tensor/random.ts';
import { takePart } from './client/take-part.ts';

const tools = federationTools();
const hex = (state: Parameters<typeof encodeState>[0]): string => Buffer.from(encodeState(state)).toString('hex');

describe('a federation over HTTP', () => {
  test('gives the simulation’s bits, personal states included, and its accounting', async () => {
    const simulation = journalIn(tools.folder());
    const { result } = await finished(run(simulation, { stages: stages(), clients: three }));

    const folder = tools.folder();
    const served = await tools.serve(folder);
    const taking = names.map((name) => tools.takesPart(served.server, folder, name));
    const there = await finished(rounds(served));
    await served.server.end({ how: 'finished', why: '' }, 10);
    const ended = await Promise.all(taking);

    for (const [i, stage] of result.stages.entries()) {
      const other = there.result.stages[i]!;
      expect(hex(other.shared)).toBe(hex(stage.shared));
      expect([...other.traffic]).toEqual([...stage.traffic]);
      expect(other.tokens).toBe(stage.tokens);
      expect(other.rounds.map(({ participants }) => participants)).toEqual(
        stage.rounds.map(({ participants }) => participants),
      );
      for (const [k, name] of names.entries()) {
        const mine = ended[k]!.state.privateState(other);
        expect(mine === undefined ? '' : hex(mine)).toBe(
          hex(simulation.privateState(stage, name) ?? null).replace(hex(null), ''),
        );
        // The server has nobody's private state.
        expect(served.journal.privateState(stage, name)).toBeUndefined();
      }
    }
    expect(ended.map(({ state }) => state.undecided())).toEqual([[], [], []]);
    expect(ended.flatMap(({ events }) => events.filter(({ kind }) => kind === 'accepted'))).toHaveLength(15);
  });
});

test('connections that are cut, in requests and in answers, change nothing', async () => {
  const { result } = await finished(run(journalIn(tools.folder()), { stages: stages(), clients: three }));
  const folder = tools.folder();
  const served = await tools.serve(folder);
  const proxy = await cuttingProxy(served.server.url, stream(11, 'cuts'), 6000);
  try {
    // Requests and answers here have some hundred bytes.
    const taking = names.map((name) => tools.takesPart(served.server, folder, name, { url: proxy.url }));
    const there = await finished(rounds(served));
    await served.server.end({ how: 'finished', why: '' }, 20);
    const ended = await Promise.all(taking);
    expect(there.result.stages.map(({ shared }) => hex(shared))).toEqual(
      result.stages.map(({ shared }) => hex(shared)),
    );
    expect(there.result.stages.flatMap(({ leftOut }) => leftOut)).toEqual([]);
    // Two rounds, two rounds and one: each worked on once, and accepted.
    for (const { events, state } of ended) {
      expect(events.filter(({ kind }) => kind === 'task')).toHaveLength(5);
      expect(state.undecided()).toEqual([]);
    }
    expect(proxy.cuts()).toBeGreaterThan(5);
  } finally {
    await proxy.close();
  }
});

describe('clients that vanish', () => {
  test('are left out after their lease, with the reason, and the run goes on without them', async () => {
    const folder = tools.folder();
    const served = await tools.serve(folder, { description: { ...described, lease: 5 } });
    // ann joins and is never heard from again.
    await tools.joined(served.server, 'ann');
    const taking = ['ben', 'cho'].map((name) => tools.takesPart(served.server, folder, name));
    const one = [averaging(layout, { rounds: 1, steps: 1 })];
    const waited: (readonly string[])[] = [];
    const clock = setInterval(() => waited.push(served.server.desk.waiting().map(({ client }) => client)), 20);
    const { result } = await finished(rounds(served, { stages: one }));
    clearInterval(clock);
    await served.server.end({ how: 'finished', why: '' }, 0.5);
    await Promise.all(taking);
    expect(result.stages[0]!.rounds[0]).toMatchObject({
      participants: ['ben', 'cho'],
      leftOut: [{ client: 'ann', reason: 'was not heard from for 5 s' }],
    });
    // Meanwhile the server knows whom it waits for.
    expect(waited.some((list) => list.includes('ann'))).toBe(true);
  });
});

describe('a server that is killed and started again', () => {
  test('has every acknowledged update, asks for no such work again, and ends with the same bits', async () => {
    const { result } = await finished(run(journalIn(tools.folder()), { stages: stages(), clients: three }));
    const folder = tools.folder();
    const served = await tools.serve(folder);
    const control = new AbortController();
    const going = finished(rounds(served, { signal: control.signal })).catch((error: unknown) => error);
    // ann and ben finish the first round, cho never does.
    const early = new Map<string, string>();
    const keys = new Map<string, string>();
    for (const name of names) keys.set(name, (await tools.joined(served.server, name)).key);
    for (const name of ['ann', 'ben']) {
      const api = tools.api(served.server.url, keys.get(name));
      const state = await tools.state(served.server, folder, name);
      const taking = takePart({ api, state, worker: workerOf(name), signal: control.signal, beat: 1 });
      for (;;) {
        const next = await taking.next();
        if (!next.done && next.value.kind === 'sent') {
          early.set(name, next.value.task.id);
          break;
        }
      }
      // The client dies too: its folder is opened anew below.
      await taking.return({ how: 'stopped', why: '' });
      state.close();
    }
    control.abort();
    await going;
    await served.close();

    const again = await tools.serve(folder);
    expect(again.server.run).toBe(served.server.run);
    const taking = names.map(async (name) => {
      const api = tools.api(again.server.url, keys.get(name));
      const state = await tools.state(again.server, folder, name);
      const tasks: string[] = [];
      const part = takePart({ api, state, worker: workerOf(name), signal: tools.signal, beat: 1 });
      for (;;) {
        const next = await part.next();
        if (next.done) return tasks;
        if (next.value.kind === 'task') tasks.push(next.value.task.id);
      }
    });
    const there = await finished(rounds(again));
    await again.server.end({ how: 'finished', why: '' }, 10);
    const worked = await Promise.all(taking);
    expect(there.result.stages.map(({ shared }) => hex(shared))).toEqual(
      result.stages.map(({ shared }) => hex(shared)),
    );
    expect(worked.map((tasks) => tasks.length)).toEqual([4, 4, 5]);
    for (const [i, name] of ['ann', 'ben'].entries()) expect(worked[i]).not.toContain(early.get(name));
  });
});
