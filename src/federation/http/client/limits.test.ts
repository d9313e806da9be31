import { describe, expect, test } from 'vitest';
import { setTimeout as sleep } from 'node:timers/promises';
import { finished, layout } from '../../../../tests/support/federation.ts';
import { federationTools, rounds, workerOf } from '../../../../tests/support/served.ts';
import { averaging } from '../../../../tests/support/stages.ts';
import { enforced, type Limits } from './limits.ts';
import { takePart, type TakingPart } from './take-part.ts';

const tools = federationTools();
const stages = [averaging(layout, { rounds: 2, steps: 3 })];

describe('a limit', () => {
  test('of memory ends a task as soon as more is held, with the amounts', () => {
    const control = new AbortController();
    let held = 5e8;
    const limits = enforced({ memory: 1e9 }, control, () => held);
    limits.check();
    expect(control.signal.aborted).toBe(false);
    held = 1.25e9;
    limits.check();
    expect(String(control.signal.reason)).toBe(
      'LimitReached: it took 1.3 GB of memory, and this client gives 1.0 GB to the whole process',
    );
    limits.stop();
  });

  test('of time ends a task by itself; none ends none', async () => {
    const [timed, free] = [new AbortController(), new AbortController()];
    const limits = enforced({ time: 0.02 }, timed);
    enforced({}, free).check();
    await expect.poll(() => timed.signal.aborted).toBe(true);
    expect(String(timed.signal.reason)).toContain('longer than the 0.0 s that this client gives to a task');
    expect(free.signal.aborted).toBe(false);
    limits.stop();
  });
});

/** ann trains slowly, or in little memory; ben and cho as usual. */
async function run(limits: Limits, pause: number) {
  const folder = tools.folder();
  const served = await tools.serve(folder);
  const { api } = await tools.joined(served.server, 'ann');
  const state = await tools.state(served.server, folder, 'ann');
  const quick = workerOf('ann', stages);
  const worker: typeof quick = {
    ...quick,
    async *train(task, received, mine, signal) {
      const work = quick.train(task, received, mine, signal);
      for (;;) {
        const next = await work.next();
        if (next.done) return next.value;
        if (task.round === 0) await sleep(pause);
        yield next.value;
      }
    },
  };
  const events: TakingPart[] = [];
  const ann = (async () => {
    const taking = takePart({ api, state, worker, signal: tools.signal, beat: 0.05, limits });
    for (let next = await taking.next(); !next.done; next = await taking.next()) events.push(next.value);
  })();
  const others = ['ben', 'cho'].map((name) => tools.takesPart(served.server, folder, name, { stages }));
  const { result } = await finished(rounds(served, { stages }));
  await served.server.end({ how: 'finished', why: '' }, 10);
  await Promise.all([ann, ...others]);
  return { rounds: result.stages[0]!.rounds, failed: events.filter(({ kind }) => kind === 'failed') };
}

describe('a client whose task reaches its limit', () => {
  test('of time tells the server so, is left out of the round, and takes part in the next', async () => {
    const { rounds: done, failed } = await run({ time: 5 }, 6000);
    const reason = 'it took longer than the 5.0 s that this client gives to a task';
    expect(failed).toMatchObject([{ reason }]);
    expect(done).toMatchObject([
      { participants: ['ben', 'cho'], leftOut: [{ client: 'ann', reason }] },
      { participants: ['ann', 'ben', 'cho'], leftOut: [] },
    ]);
  });

  test('of memory does the same in each round', async () => {
    const { rounds: done } = await run({ memory: 1000 }, 0);
    const reason = expect.stringMatching(/^it took .* of memory, and this client gives 1.0 kB to the whole process$/);
    expect(done.map(({ leftOut }) => leftOut)).toEqual([[{ client: 'ann', reason }], [{ client: 'ann', reason }]]);
  });
});
