import { expect, test } from 'vitest';
import { collect } from '../../tests/support/collect.ts';
import { Interrupted } from '../errors.ts';
import { tensor } from '../tensor/tensors.ts';
import { JournalFailure } from './fatal.ts';
import type { Participant, Task } from './participant.ts';
import { performTask } from './task.ts';

const task: Task = {
  method: 'm',
  stage: 's',
  stageIndex: 0,
  round: 0,
  draw: 0,
  rounds: 1,
  client: 'a',
  received: new Map(),
  frozen: new Map(),
  work: () => {
    throw new Error('the participants of these tests bring their own work');
  },
};
const never = new AbortController().signal;
const progress = (step: number, loss = 2) => ({ step, steps: 3, loss, tokens: 10 * step, processed: 20 });
const participant = (perform: Participant['perform']): Participant => ({ perform });
const forever = new Promise<never>(() => undefined);
const pause = (ms: number): Promise<void> => new Promise((done) => setTimeout(done, ms));

test('progress passes through and is added up in the outcome', async () => {
  const update = new Map([['x', tensor([1], [1])]]);
  const worker = participant(async function* () {
    yield progress(1, 1);
    yield progress(2, 4);
    return { update, weight: 3, seconds: 0.5 };
  });
  const { yielded } = await collect(performTask(worker, task, 10, never));
  expect(yielded).toEqual([
    { client: 'a', progress: progress(1, 1) },
    { client: 'a', progress: progress(2, 4) },
    {
      client: 'a',
      outcome: {
        client: 'a',
        update,
        weight: 3,
        failure: undefined,
        tokens: 30,
        processed: 40,
        lossSum: 90,
        seconds: 0.5,
      },
    },
  ]);
});

test('an error is an outcome with its reason, and what was done before counts', async () => {
  const worker = participant(async function* () {
    yield progress(1);
    throw new Error('the disk of this client is gone');
  });
  const { yielded } = await collect(performTask(worker, task, 10, never));
  expect(yielded[1]).toMatchObject({
    outcome: { update: undefined, failure: 'the disk of this client is gone', tokens: 10, processed: 20 },
  });
});

test('a loss that is not finite is a failure', async () => {
  const worker = participant(async function* () {
    yield progress(2, NaN);
    return { update: new Map(), weight: 1, seconds: 0 };
  });
  const { yielded } = await collect(performTask(worker, task, 10, never));
  expect(yielded).toMatchObject([{ outcome: { failure: 'the loss of step 2 is NaN', tokens: 0 } }]);
});

test('work that hangs and does not listen is left at the deadline, with its signal aborted', async () => {
  let signalled: AbortSignal | undefined;
  const worker = participant(async function* (_, signal) {
    signalled = signal;
    yield progress(1);
    await forever;
    return { update: new Map(), weight: 1, seconds: 0 };
  });
  const from = performance.now();
  const { yielded } = await collect(performTask(worker, task, 0.05, never));
  expect(yielded[1]).toMatchObject({ outcome: { failure: 'took longer than the deadline of 0.05 s', tokens: 10 } });
  expect(performance.now() - from).toBeLessThan(1000);
  expect(signalled?.aborted).toBe(true);
});

test('the deadline bounds the task, not one step, and not the time of whoever takes the progress', async () => {
  const steps = (ms: number): Participant =>
    participant(async function* () {
      for (let step = 1; step <= 20; step++) {
        await pause(ms);
        yield progress(step);
      }
      return { update: new Map(), weight: 1, seconds: 0 };
    });
  const { yielded } = await collect(performTask(steps(20), task, 0.1, never));
  expect(yielded.at(-1)).toMatchObject({ outcome: { failure: expect.stringContaining('deadline') as string } });
  expect(yielded.length).toBeGreaterThan(2);
  expect(yielded.length).toBeLessThan(8);
  let last: unknown;
  for await (const step of performTask(steps(0), task, 0.5, never)) {
    await pause(40);
    last = step;
  }
  expect(last).toMatchObject({ outcome: { failure: undefined } });
});

test('an aborted run interrupts at once, even where work does not listen', async () => {
  const control = new AbortController();
  const hanging = participant(async function* () {
    yield progress(1);
    await forever;
    return { update: new Map(), weight: 1, seconds: 0 };
  });
  const running = performTask(hanging, task, 1000, control.signal);
  await running.next();
  const next = running.next();
  control.abort();
  await expect(next).rejects.toBeInstanceOf(Interrupted);
});

test('work that stops because the run was aborted is no failure of the client', async () => {
  const control = new AbortController();
  const listening = participant(async function* (_, signal) {
    for (let step = 1; ; step++) {
      await pause(1);
      signal.throwIfAborted();
      yield progress(step);
    }
  });
  const running = performTask(listening, task, 1000, control.signal);
  await running.next();
  control.abort();
  await expect(running.next()).rejects.toBeInstanceOf(Interrupted);
});

test('a journal that cannot be written is not the client’s failure', async () => {
  const worker = participant(async function* () {
    yield progress(1);
    throw new JournalFailure('the disk is full');
  });
  await expect(collect(performTask(worker, task, 10, never))).rejects.toBeInstanceOf(JournalFailure);
});

test('an update that has arrived is not late, however long it takes to read; one that is awaited again is', async () => {
  const reading = (last: 'arrived' | 'awaited'): Participant =>
    participant(async function* () {
      yield 'arrived';
      yield last;
      await pause(400);
      return { update: new Map(), weight: 2, seconds: 0.1 };
    });
  const outcome = async (last: 'arrived' | 'awaited'): Promise<unknown> =>
    (await collect(performTask(reading(last), task, 0.2, never))).yielded;
  expect(await outcome('arrived')).toMatchObject([{ outcome: { failure: undefined, weight: 2 } }]);
  expect(await outcome('awaited')).toMatchObject([{ outcome: { failure: 'took longer than the deadline of 0.2 s' } }]);
});

test('work that is late is told so before anybody hears of it', async () => {
  let stopped = false;
  const worker = participant(async function* (_, signal) {
    signal.addEventListener('abort', () => (stopped = true));
    yield progress(1);
    return forever;
  });
  const steps = performTask(worker, task, 0.05, never);
  await steps.next();
  expect((await steps.next()).value).toMatchObject({ outcome: { failure: 'took longer than the deadline of 0.05 s' } });
  expect(stopped).toBe(true);
  await steps.return();
});
