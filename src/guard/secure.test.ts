import { describe, expect, test } from 'vitest';
import { fakeAdapter, fakeEngine, fakeLayout } from '../../tests/support/fake-engine.ts';
import { clients, finished, journalIn, run } from '../../tests/support/federation.ts';
import {
  adaptive,
  clip,
  end,
  fixed,
  place,
  placed,
  plain as stageOf,
  privacy,
  watched,
} from '../../tests/support/guards.ts';
import { without as failing } from '../../tests/support/secure-sums.ts';
import { temporaryFolder } from '../../tests/support/temporary.ts';
import { RoundFailed } from '../federation/fatal.ts';
import { defaultSecureSettings as secure } from '../federation/secure/combiner.ts';
import type { Combined, Stage } from '../methods/stage.ts';
import type { Tensors } from '../tensor/tensor.ts';
import { add, countNumbers, norm, scale, subtract } from '../tensor/tensors.ts';
import { idleKit } from '../train/idle-kit.ts';
import { rdpEpsilon } from './accountant/rdp.ts';
import { updateNoise } from './adaptive-clip.ts';
import { BOUND, scalar, UNCLIPPED } from './beside.ts';
import { guarded, type GuardedShared } from './guarded.ts';
import type { Guards } from './guards.ts';

const folder = temporaryFolder();
// Numbers enough for their noise to have its norm.
const layout = fakeLayout(2, 40, 40, 4);
const initial = fakeAdapter(layout);
const base = { initial, engine: fakeEngine(layout), secure };
const plain = (rounds: number): Stage => stageOf(rounds, layout);
/** What the clients would send in the first round. */
async function updates(): Promise<Tensors[]> {
  const { stage, seen } = watched({ ...plain(1), combine: 'each' });
  await finished(run(journalIn(folder), { initial, engine: base.engine, stages: [stage] }));
  const [combined] = seen;
  return combined?.kind === 'each' ? combined.updates.map(({ update }) => update) : [];
}
// Noise that shows in the sum, but leaves it to be seen.
const guards: Guards = { clip: fixed, privacy: { ...privacy, noise: 0.05 } };
const at = (more = {}) => placed({ distributed: true, normal: () => expect.fail('the server draws noise'), ...more });
const numbers = countNumbers(initial.factors);
const total = (parts: readonly Tensors[]): Tensors => parts.reduce((sum, part) => add(sum, part));

/** What a client makes of a round whose broadcast has this bound. */
function worked(own: Guards, bound?: number) {
  const stage = guarded(plain(1), own, at());
  const received = new Map([...initial.factors, ...(bound === undefined ? [] : [[BOUND, scalar(bound)] as const])]);
  return (async () => {
    const work = stage.work(received, undefined, idleKit('ann', 0));
    for (;;) {
      const next = await work.next();
      if (next.done) return next.value;
    }
  })();
}

/** The norm of noise is √numbers deviations, to a deviation of √½ itself: within six of these. */
const expectNoise = (noise: Tensors, deviation: number): void =>
  expect(Math.abs(norm(noise) / deviation - Math.sqrt(numbers))).toBeLessThan(6 * Math.SQRT1_2);

describe('privacy under secure sums', () => {
  // Of six clients ⌈6/5⌉ = 2 may be corrupt; 5 make a sum, of whom 3 are honest.
  test('moves the model by (Σ clipped + the clients’ noise)/N, and costs what Gaussian noise at rate 1 does', async () => {
    const stage = guarded(plain(1), guards, at());
    const { result } = await finished(run(journalIn(folder), { stages: [stage], ...base }));
    const [{ rounds, shared } = expect.fail()] = result.stages;
    const moved = subtract(end(shared), initial.factors);
    const clipped = (await updates()).map((update) => clip(update, fixed.norm).update);
    const noise = subtract(moved, scale(total(clipped), 1 / 6));
    expectNoise(noise, (0.05 * fixed.norm * Math.sqrt(6 / 3)) / 6);
    expect(rounds[0]!.privacy).toEqual({
      noise: 0.05,
      rate: 1,
      bound: fixed.norm,
      delta: 1e-5,
      epsilon: rdpEpsilon([{ noise: 0.05, rate: 1, steps: 1 }], 1e-5).epsilon,
      honest: 3,
    });
    expect(rounds[0]).toMatchObject({ participants: clients.map(({ id }) => id), trainLoss: null, tokens: 0 });
  });

  test('goes on without who drops out, by the same N, with noise enough, and ends below the least', async () => {
    const stages = (gone: readonly string[]): Stage[] => [guarded(failing([plain(1)], gone)[0]!, guards, at())];
    const { result } = await finished(run(journalIn(folder), { stages: stages(['cho']), ...base }));
    const [{ shared, leftOut } = expect.fail()] = result.stages;
    expect(leftOut.map(({ client }) => client)).toEqual(['cho']);
    const clipped = (await updates()).flatMap((update, i) =>
      clients[i]!.id === 'cho' ? [] : [clip(update, fixed.norm).update],
    );
    const noise = subtract(subtract(end(shared), initial.factors), scale(total(clipped), 1 / 6));
    expectNoise(noise, (0.05 * fixed.norm * Math.sqrt(5 / 3)) / 6);
    const none = finished(run(journalIn(folder), { stages: stages(['cho', 'eli']), ...base }));
    await expect(none).rejects.toThrow(RoundFailed);
    await expect(none).rejects.toThrow('has 4 update(s) of 6 client(s), and secure aggregation takes at least 5');
  });

  test('needs a secure sum', async () => {
    const stage = guarded(plain(1), guards, at());
    await expect(finished(run(journalIn(folder), { initial, engine: base.engine, stages: [stage] }))).rejects.toThrow(
      'a sum that is not secure',
    );
  });

  test('with a moving bound counts with noise of its own, and updates with the more that is left to them', async () => {
    const moving = { ...adaptive, countNoise: 2 };
    const { stage, seen } = watched(plain(2));
    const own: Guards = { clip: moving, privacy: { ...privacy, noise: 0.5 } };
    const journal = journalIn(folder);
    const { result } = await finished(run(journal, { stages: [guarded(stage, own, at())], ...base }));
    const [{ rounds, shared } = expect.fail()] = result.stages;
    const bounds = [...rounds.map((record) => record.privacy!.bound), (shared as GuardedShared).bound!];
    expect(bounds[0]).toBe(adaptive.initial);
    // The last round's sum is in the journal, its count with it.
    const { sum, weight } = journal.released(place, 1)!.combined;
    const count = sum.get(UNCLIPPED)!.data[0]!;
    expect(Math.abs(count)).toBeLessThan(3 + 6 * 2 * Math.SQRT2);
    expect(bounds[2]).toBeCloseTo(bounds[1]! * Math.exp((-0.2 * count) / weight), 6);
    const last = seen[1]!;
    if (last.kind !== 'sum') throw new Error('no sum');
    // Six updates of at most the bound, and the rest is noise.
    const deviation = updateNoise(0.5, 2) * bounds[1]! * Math.sqrt(6 / 3);
    expect(Math.abs(norm(last.sum) - deviation * Math.sqrt(numbers))).toBeLessThan(6 * bounds[1]! + 5 * deviation);
    expect(rounds[1]!.privacy!.epsilon).toBe(rdpEpsilon([{ noise: 0.5, rate: 1, steps: 2 }], 1e-5).epsilon);
  });

  test.each([
    ['a fixed bound is the configuration’s, whatever is sent', fixed, 1e9, fixed.norm],
    ['a moving one is what is sent', adaptive, 0.25, 0.25],
  ])('%s', async (_, clip, sent, bound) => {
    const { noise } = await worked({ clip, privacy: { ...privacy, noise: 0.05 } }, sent);
    expect(noise).toMatchObject({ bound });
  });

  test('no client works without a bound: nothing would be clipped, and no noise added', async () => {
    const contribution = worked({ clip: adaptive, privacy: { ...privacy, noise: 0.05 } });
    await expect(contribution).rejects.toThrow('the server sent no clipping bound');
  });

  test('killed between sum and round: the sum is not made again', async () => {
    const name = 'killed.sqlite';
    const noisy = (): { readonly stage: Stage; readonly seen: Combined[] } => {
      const { stage, seen } = watched(plain(2));
      return { stage: guarded(stage, guards, at()), seen };
    };
    const [first, again] = [noisy(), noisy()];
    const journal = journalIn(folder, name);
    const dying = { ...journal, commitRound: () => expect.fail('killed') };
    await expect(finished(run(dying, { stages: [first.stage], ...base }))).rejects.toThrow('killed');
    const released = journal.released(place, 0)!;
    expect(released.combined).toEqual(first.seen[0]);
    expect(released.privacy.honest).toBe(3);
    journal.close();
    const { result, events } = await finished(run(journalIn(folder, name), { stages: [again.stage], ...base }));
    expect(again.seen[0]).toEqual(first.seen[0]);
    expect(events.flatMap((event) => (event.kind === 'client done' ? [event.round] : []))).toEqual([1, 1, 1, 1, 1, 1]);
    expect(result.stages[0]!.rounds[0]!.privacy).toEqual(released.privacy);
  });
});
