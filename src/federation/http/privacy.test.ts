import { expect, test } from 'vitest';
import { finished, initial, journalIn, layout, run } from '../../../tests/support/federation.ts';
import { end, fixed, placed, poisson, privacy } from '../../../tests/support/guards.ts';
import { described, federationTools, names, rounds, three, workerOf } from '../../../tests/support/served.ts';
import { averaging, local } from '../../../tests/support/stages.ts';
import { guarded } from '../../guard/guarded.ts';
import { cryptographicNormal } from '../../guard/gaussian.ts';
import type { GuardedAt, Guards } from '../../guard/guards.ts';
import type { Stage } from '../../methods/stage.ts';
import { encodeState } from '../../tensor/encode.ts';
import { norm, subtract } from '../../tensor/tensors.ts';
import type { Journal } from '../journal.ts';
import { openApi, type Api } from './client/api.ts';
import { takePart } from './client/take-part.ts';

const tools = federationTools();
const hex = (state: Parameters<typeof encodeState>[0]): string => Buffer.from(encodeState(state)).toString('hex');
const at = { method: 'method', stage: 'federated', stageIndex: 0 };
const description = { ...described, config: { guards: [{ use: 'privacy' }] } };
const guards: Guards = { compress: { use: 'top-k', share: 0.4 }, clip: fixed, privacy };
const stagesWith = (count: number, more: Partial<GuardedAt> = {}): Stage[] => [
  guarded(averaging(layout, { rounds: count, steps: 2 }), guards, placed({ expected: 3, ...more })),
  guarded(local(layout, { steps: 1 }), guards, placed({ expected: 3, stageIndex: 1, ...more })),
];
const noisy = { normal: cryptographicNormal() };
const nothing = { step: 0, steps: 0, tokens: 0, processed: 0, lossSum: 0 };

/** Notes whatever a client tells the server, but for the tensors. */
function overheard(api: Api): {
  readonly api: Api;
  readonly said: { readonly what: string; readonly value: unknown }[];
} {
  const said: { what: string; value: unknown }[] = [];
  const note = (what: string, value: unknown): void => void said.push({ what, value });
  const noting: Api = {
    ...api,
    progress: (id, totals) => (note('progress', totals), api.progress(id, totals)),
    submit: (id, update) => (note('submit', update), api.submit(id, update)),
    answer: (id, sums) => (note('answer', sums), api.answer(id, sums)),
    fail: (id, reason) => (note('fail', reason), api.fail(id, reason)),
  };
  return { api: noting, said };
}

test('what leaves a client is the clipped update and that it is there; the model is that of a simulation but for the noise', async () => {
  // Everybody is drawn, and the noise is 0: what is left is the same bits.
  const simulation = journalIn(tools.folder());
  const { result } = await finished(
    run(simulation, { stages: stagesWith(3, { normal: () => 0 }), clients: three, rounds: poisson(1) }),
  );
  const folder = tools.folder();
  const served = await tools.serve(folder, { description });
  const stages = stagesWith(3, { normal: () => 0 });
  const taking = names.map(async (name) => {
    const { api, said } = overheard((await tools.joined(served.server, name)).api);
    const state = await tools.state(served.server, folder, name);
    const worker = { ...workerOf(name, stages), silent: true };
    const part = takePart({ api, state, worker, signal: tools.signal, beat: 0.02 });
    for (;;) if ((await part.next()).done) return { state, said };
  });
  const there = await finished(rounds(served, { stages, settings: poisson(1) }));
  await served.server.end({ how: 'finished', why: '' }, 10);
  const ended = await Promise.all(taking);
  for (const [i, stage] of result.stages.entries()) {
    expect(hex(there.result.stages[i]!.shared)).toBe(hex(stage.shared));
    for (const [k, name] of names.entries())
      expect(hex(ended[k]!.state.privateState(stage) ?? null)).toBe(hex(simulation.privateState(stage, name) ?? null));
  }
  for (const { said } of ended) {
    const submitted = said.filter(({ what }) => what === 'submit').map(({ value }) => value);
    expect(submitted).toHaveLength(4);
    for (const value of submitted) expect(value).toMatchObject({ weight: 1, seconds: 0, totals: nothing });
    for (const { what, value } of said) if (what === 'progress') expect(value).toEqual(nothing);
    expect(said.filter(({ what }) => what !== 'submit' && what !== 'progress')).toEqual([]);
  }
  for (const { tokens, processed, trainLoss } of there.result.stages.flatMap((stage) => stage.rounds))
    expect({ tokens, processed, trainLoss }).toEqual({ tokens: 0, processed: 0, trainLoss: null });
  expect(there.result.stages[0]!.rounds.map((round) => round.privacy!.epsilon)).toEqual(
    result.stages[0]!.rounds.map((round) => round.privacy!.epsilon),
  );
  expect(served.server.store.clients().map(({ data }) => data)).toEqual([null, null, null]);
});

test('counts are refused, why work failed stays at the client, and nobody hears whom the others wait for', async () => {
  const folder = tools.folder();
  const served = await tools.serve(folder, { description });
  const apis = await Promise.all(names.map(async (name) => (await tools.joined(served.server, name)).api));
  const counts = { train: 3, validation: 0, test: 0, labelledTokens: 100 };
  await expect(apis[0]!.ready(counts)).rejects.toThrow('counts of rows and tokens stay with you');
  const stages: Stage[] = stagesWith(1, noisy).slice(0, 1);
  const going = finished(rounds(served, { stages, settings: poisson(1) }));
  const failing = overheard(apis[0]!);
  const state = await tools.state(served.server, folder, names[0]!);
  const control = new AbortController();
  const worker = {
    ...workerOf(names[0]!, stages),
    silent: true,
    // oxlint-disable-next-line require-yield
    async *train(): ReturnType<ReturnType<typeof workerOf>['train']> {
      throw new Error('row 17 of mine has no letters');
    },
  };
  const part = takePart({ api: failing.api, state, worker, signal: control.signal, beat: 10 });
  const reasons: string[] = [];
  const taking = (async () => {
    for (;;) {
      const next = await part.next();
      if (next.done) return;
      if (next.value.kind === 'failed') reasons.push(next.value.reason);
    }
  })();
  await expect.poll(() => reasons, { timeout: 20_000 }).toEqual(['row 17 of mine has no letters']);
  // The two others were drawn and have not answered; the first is told nothing of it.
  expect(served.server.desk.waiting()).toHaveLength(2);
  expect(await apis[0]!.next(0)).toEqual({ kind: 'wait', why: 'nothing to do at present' });
  for (const [k, name] of names.slice(1).entries()) {
    const next = await apis[k + 1]!.next(5);
    if (next.kind !== 'task') throw new Error(`${name} has no task`);
    await apis[k + 1]!.fail(next.task.id, 'gone');
  }
  const { result } = await going;
  await served.server.end({ how: 'finished', why: '' }, 0.2);
  control.abort();
  await taking.catch(() => undefined);
  expect(result.stages[0]!.leftOut.map(({ reason }) => reason)).toEqual([
    'its work failed; why, it keeps to itself',
    'gone',
    'gone',
  ]);
  expect(failing.said.map(({ value }) => value)).toEqual(['its work failed; why, it keeps to itself']);
  // A round without anybody's update is noise, and shown like any other.
  expect(norm(subtract(end(result.stages[0]!.shared), initial.factors))).toBeGreaterThan(0);
});

test('a server killed between noise and round: the same noise and the same secret sample, and nobody works twice', async () => {
  const folder = tools.folder();
  const settings = poisson(0.6);
  const served = await tools.serve(folder, { description });
  const keys = new Map<string, string>();
  for (const name of names) keys.set(name, (await tools.joined(served.server, name)).key);
  const stages = stagesWith(4, noisy).slice(0, 1);
  // The process dies where the second round's sum is journalled with its noise and the round is not committed.
  const dying: Journal = {
    ...served.journal,
    commitRound(place, record, ...more) {
      if (record.round === 1) throw new Error('killed');
      served.journal.commitRound(place, record, ...more);
    },
  };
  const control = new AbortController();
  const tasks = new Map<string, number[]>(names.map((name) => [name, []]));
  const takes = async (server: typeof served.server, name: string, signal: AbortSignal): Promise<void> => {
    const state = await tools.state(server, folder, name);
    const api = openApi({ url: server.url, key: keys.get(name)!, patience: 30, signal });
    const worker = { ...workerOf(name, stages), silent: true };
    const part = takePart({ api, state, worker, signal, beat: 1 });
    try {
      for (;;) {
        const next = await part.next();
        if (next.done) break;
        if (next.value.kind === 'task' && next.value.task.kind === 'train')
          tasks.get(name)!.push(next.value.task.round);
      }
    } catch (error) {
      if (!signal.aborted) throw error;
    } finally {
      state.close();
    }
  };
  const first = names.map((name) => takes(served.server, name, control.signal));
  const going = { server: served.server, journal: dying };
  await expect(finished(rounds(going, { stages, settings }))).rejects.toThrow('killed');
  const released = served.journal.released(at, 1)!;
  const drawn = served.journal.drawn(at, 1)!;
  const finishing = hex(stages[0]!.apply(served.journal.shared(at), released.combined, 1));
  control.abort();
  await Promise.all(first);
  await served.close();

  const again = await tools.serve(folder, { description });
  expect(hex(again.journal.released(at, 1)!.combined.sum)).toBe(hex(released.combined.sum));
  const second = names.map((name) => takes(again.server, name, tools.signal));
  const shared: string[] = [];
  const events = rounds(again, { stages, settings });
  const result = await (async () => {
    for (;;) {
      const next = await events.next();
      if (next.done) return next.value;
      if (next.value.kind === 'round done') shared.push(hex(again.journal.shared(at)));
    }
  })();
  await again.server.end({ how: 'finished', why: '' }, 10);
  await Promise.all(second);
  const [stage] = result.stages;
  // The second round is the journalled sum, which was never drawn again.
  expect(stage!.rounds[1]!.participants).toEqual(drawn);
  expect(shared).toHaveLength(3);
  expect(shared[0]).toBe(finishing);
  expect(again.journal.drawn(at, 1)).toEqual(drawn);
  // Each client worked once in the rounds for which it was drawn, and in no other.
  for (const name of names) {
    const rounds_ = [0, 1, 2, 3].filter((round) => again.journal.drawn(at, round)!.includes(name));
    expect(tasks.get(name)).toEqual(rounds_);
    expect(stage!.rounds.filter(({ participants }) => participants.includes(name)).map(({ round }) => round)).toEqual(
      rounds_,
    );
  }
});
