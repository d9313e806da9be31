import { expect, test } from 'vitest';
import { clients, everyone, finished, journalIn, layout, run } from '../../../tests/support/federation.ts';
import { federationTools, names, rounds, three, workerOf } from '../../../tests/support/served.ts';
import { averaging, visitsOf } from '../../../tests/support/stages.ts';
import type { Stage } from '../../methods/stage.ts';
import { encodeState } from '../../tensor/encode.ts';
import { takePart, type Worker } from './client/take-part.ts';

const tools = federationTools();
const hex = (state: Parameters<typeof encodeState>[0]): string => Buffer.from(encodeState(state)).toString('hex');
const settings = { sampling: 'fixed', fraction: 2 / 3, overSampling: 1.5 } as const;
const at = { method: 'method', stage: 'federated', stageIndex: 0 };
const stages = [averaging(layout, { rounds: 3 })];

/** Work that cannot end in a round before this is opened. */
function gated(worker: Worker, round: number, gate: Promise<void>): Worker {
  return {
    ...worker,
    async *train(task, received, mine, signal) {
      const done = yield* worker.train(task, received, mine, signal);
      if (task.round === round) await gate;
      return done;
    },
  };
}

test('a round closes with the updates that it needs; who comes later is told so, and nothing of it moves', async () => {
  const folder = tools.folder();
  const served = await tools.serve(folder);
  const fast = names.slice(0, 2).map((name) => tools.takesPart(served.server, folder, name, { stages }));
  // The third finishes its work of the first round when that is long over, and has not noticed before.
  const { api } = await tools.joined(served.server, names[2]!);
  const state = await tools.state(served.server, folder, names[2]!);
  let open!: () => void;
  const gate = new Promise<void>((done) => (open = done));
  const worker = gated(workerOf(names[2]!, stages), 0, gate);
  const refused: string[] = [];
  const slow = (async () => {
    const part = takePart({ api, state, worker, signal: tools.signal, beat: 1000 });
    for (;;) {
      const next = await part.next();
      if (next.done) return;
      if (next.value.kind === 'refused') {
        refused.push(next.value.reason);
        if (refused.length === 1) expect(state.privateState(at)).toBeUndefined();
      }
    }
  })();
  const going = rounds(served, { stages, settings });
  const { monitor } = served.server;
  const standing: string[] = [];
  const result = await (async () => {
    for (;;) {
      const next = await going.next();
      if (next.done) return next.value;
      if (next.value.kind === 'round started') expect(next.value.clients).toEqual(names);
      monitor.tell(next.value);
      if (next.value.kind === 'client done')
        standing.push(`${monitor.standing()!.updates} of ${monitor.standing()!.enough}`);
      if (next.value.kind === 'round done' && next.value.round === 0) open();
    }
  })();
  await served.server.end({ how: 'finished', why: '' }, 10);
  const ended = [...(await Promise.all(fast)).map((one) => one.state), state];
  await slow;

  const [stage] = result.stages;
  expect(stage!.rounds.map(({ participants }) => participants.length)).toEqual([2, 2, 2]);
  const reason = 'came after the 2 updates that the round needed';
  expect(stage!.rounds[0]).toMatchObject({ participants: names.slice(0, 2), leftOut: [{ client: names[2], reason }] });
  expect(refused[0]).toBe(reason);
  expect(standing).toEqual(['1 of 2', '2 of 2', '1 of 2', '2 of 2', '1 of 2', '2 of 2']);
  expect(monitor.standing()).toMatchObject({ updates: 0, enough: undefined });
  // Private states moved as often as updates were counted, and no update is left undecided.
  expect(ended.map((one) => visitsOf(one.privateState(at)))).toEqual(
    names.map((name) => stage!.rounds.filter(({ participants }) => participants.includes(name)).length),
  );
  expect(ended.flatMap((one) => one.undecided())).toEqual([]);

  // By those that the journal says were counted, the same bits once more.
  const counted = (client: string, round: number): boolean => stage!.rounds[round]!.participants.includes(client);
  const again: Stage = {
    ...(stages[0] as Stage),
    work(received, mine, kit) {
      if (!counted(kit.client, kit.round)) throw new Error('was not counted');
      return stages[0]!.work(received, mine, kit);
    },
  };
  const { result: recomputed } = await finished(run(journalIn(folder), { stages: [again], clients: three }));
  expect(hex(recomputed.stages[0]!.shared)).toBe(hex(stage!.shared));
});

test('has the simulation’s bits where exactly as many come as a round needs', async () => {
  const of = { ...settings, overSampling: 1 };
  const { result } = await finished(
    run(journalIn(tools.folder()), { stages, clients: three, rounds: { ...everyone, ...of } }),
  );
  const folder = tools.folder();
  const served = await tools.serve(folder);
  const taking = names.map((name) => tools.takesPart(served.server, folder, name, { stages }));
  const there = await finished(rounds(served, { stages, settings: of }));
  await served.server.end({ how: 'finished', why: '' }, 10);
  await Promise.all(taking);
  expect(hex(there.result.stages[0]!.shared)).toBe(hex(result.stages[0]!.shared));
  expect(clients.length).toBeGreaterThan(names.length);
});

test('a server that is killed with more updates than a round needs counts as many as it needs, and loses no private state', async () => {
  const folder = tools.folder();
  const served = await tools.serve(folder);
  const control = new AbortController();
  // All are received, and nobody is counted: the round engine has not looked.
  const keys = await Promise.all(names.map(async (name) => (await tools.joined(served.server, name)).key));
  const going = rounds(served, { stages, settings, signal: control.signal });
  await going.next();
  await going.next();
  const pulled = going.next();
  const early = names.map(async (name, k) => {
    const state = await tools.state(served.server, folder, name);
    const api = tools.api(served.server.url, keys[k]);
    const part = takePart({ api, state, worker: workerOf(name, stages), signal: control.signal, beat: 1000 });
    for (;;) {
      const next = await part.next();
      if (next.done || next.value.kind === 'sent') break;
    }
    await part.return({ how: 'stopped', why: '' });
    state.close();
  });
  await Promise.all(early);
  control.abort();
  await pulled.catch(() => undefined);
  await going.return(undefined as never).catch(() => undefined);
  await served.close();

  const again = await tools.serve(folder);
  const taking = names.map(async (name, k) => {
    const state = await tools.state(again.server, folder, name);
    const api = tools.api(again.server.url, keys[k]);
    const part = takePart({ api, state, worker: workerOf(name, stages), signal: tools.signal, beat: 1 });
    for (;;) if ((await part.next()).done) return state;
  });
  const { result } = await finished(rounds(again, { stages, settings }));
  await again.server.end({ how: 'finished', why: '' }, 10);
  const ended = await Promise.all(taking);
  const [stage] = result.stages;
  expect(stage!.rounds[0]!.participants).toHaveLength(2);
  expect(ended.map((one) => visitsOf(one.privateState(at)))).toEqual(
    names.map((name) => stage!.rounds.filter(({ participants }) => participants.includes(name)).length),
  );
  expect(ended.flatMap((one) => one.undecided())).toEqual([]);
});
