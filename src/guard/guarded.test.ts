import { describe, expect, test } from 'vitest';
import { clients, finished, initial, journalIn, layout, run } from '../../tests/support/federation.ts';
import {
  adaptive,
  clip,
  end,
  fixed,
  place,
  placed,
  plain,
  poisson,
  privacy,
  updates,
  watched,
} from '../../tests/support/guards.ts';
import { averaging, local } from '../../tests/support/stages.ts';
import { temporaryFolder } from '../../tests/support/temporary.ts';
import type { Journal } from '../federation/journal.ts';
import type { Combined, Stage } from '../methods/stage.ts';
import type { Tensors } from '../tensor/tensor.ts';
import { add, countNumbers, norm, scale, subtract } from '../tensor/tensors.ts';
import { rdpEpsilon } from './accountant/rdp.ts';
import { UNCLIPPED, without } from './beside.ts';
import { guarded } from './guarded.ts';
import type { Guards } from './guards.ts';

const folder = temporaryFolder();

describe('with privacy', () => {
  const sum = (parts: readonly Tensors[]): Tensors => parts.reduce((total, part) => add(total, part));

  test('a round moves the model by Σ clipped / (q·N), whoever came and whatever examples they have', async () => {
    const clipped = (await updates(folder)).map((update) => clip(update, fixed.norm).update);
    expect(clipped.some((update) => norm(update) > 0.2999)).toBe(true);
    for (const expected of [6, 2.5]) {
      const stage = guarded(plain(1), { clip: fixed, privacy }, placed({ expected }));
      const { result } = await finished(run(journalIn(folder), { stages: [stage], rounds: poisson(1) }));
      const moved = subtract(end(result.stages[0]!.shared), initial.factors);
      const wanted = scale(sum(clipped), 1 / expected);
      expect(norm(subtract(moved, wanted))).toBeLessThan(1e-6);
    }
  });

  test('the noise on the sum is z·C, also of a round in which nobody came', async () => {
    const normal = (): number => 1;
    const guards: Guards = { clip: fixed, privacy: { ...privacy, noise: 2 } };
    const nobody = guarded(plain(3), guards, placed({ rate: 1e-9, expected: 0.5, normal }));
    const { result } = await finished(run(journalIn(folder), { stages: [nobody], rounds: poisson(1e-9) }));
    const { rounds, shared } = result.stages[0]!;
    expect(rounds.map(({ participants }) => participants)).toEqual([[], [], []]);
    const moved = subtract(end(shared), initial.factors);
    for (const { data } of moved.values()) for (const x of data) expect(x).toBeCloseTo((3 * 2 * fixed.norm) / 0.5, 4);
    expect(rounds.map((record) => record.privacy?.epsilon)).toEqual(
      [1, 2, 3].map((steps) => rdpEpsilon([{ noise: 2, rate: 1e-9, steps }], 1e-5).epsilon),
    );
  });

  test('nothing but the update leaves a client: no steps, losses, tokens or examples', async () => {
    const { stage: inner, seen } = watched(plain(2));
    const stages = [
      guarded(inner, { clip: fixed, privacy }, placed()),
      guarded(local(layout), { clip: fixed, privacy }, placed({ stageIndex: 1 })),
    ];
    const journal = journalIn(folder);
    const { events, result } = await finished(run(journal, { stages, rounds: poisson(1) }));
    expect(events.filter(({ kind }) => kind === 'progress')).toEqual([]);
    for (const { rounds } of result.stages) {
      for (const record of rounds) expect(record).toMatchObject({ trainLoss: null, tokens: 0, processed: 0 });
    }
    const records = [...journal.clients(place, 0), ...journal.clients(place, 1)];
    expect(records).toHaveLength(12);
    for (const record of records) expect(record).toMatchObject({ loss: null, tokens: 0, processed: 0 });
    expect(seen.map((combined) => combined.kind === 'sum' && [combined.weight, combined.clients])).toEqual([
      [6, 6],
      [6, 6],
    ]);
    // A stage that sends nothing costs nothing.
    expect(result.stages[1]!.rounds[0]!.privacy).toBeUndefined();
  });

  test('stages before count, by their own rate', async () => {
    const spent = [{ noise: 1, rate: 0.5, steps: 4 }];
    const stage = guarded(plain(1), { clip: fixed, privacy }, placed({ rate: 1, spent }));
    const { result } = await finished(run(journalIn(folder), { stages: [stage], rounds: poisson(1) }));
    expect(result.stages[0]!.rounds[0]!.privacy).toEqual({
      noise: 1,
      rate: 1,
      bound: fixed.norm,
      delta: 1e-5,
      epsilon: rdpEpsilon([...spent, { noise: 1, rate: 1, steps: 1 }], 1e-5).epsilon,
    });
  });

  test('the server takes no update that is too long, weighs more or is of another shape', async () => {
    const inner = plain(1);
    const stage = guarded(inner, { clip: fixed, privacy }, placed());
    const bad: Record<string, (update: Tensors) => object> = {
      ann: (update) => ({ update: scale(update, 1.5) }),
      ben: () => ({ weight: 2 }),
      cho: (update) => ({ update: new Map([...update].slice(1)) }),
    };
    const lying: Stage = {
      ...stage,
      async *work(received, mine, kit) {
        const done = yield* stage.work(received, mine, kit);
        return { ...done, ...bad[kit.client]?.(done.update) };
      },
    };
    const { result } = await finished(run(journalIn(folder), { stages: [lying], rounds: poisson(1) }));
    expect(result.stages[0]!.leftOut.map(({ client, reason }) => `${client}: ${reason}`)).toEqual([
      expect.stringMatching(/^ann: its update has norm .*, above the bound of 0.3$/),
      'ben: its update has weight 2, and with privacy all count the same',
      expect.stringMatching(/^cho: its update is not what this stage adds up/),
    ]);
  });

  test('who has nothing to send is left out, though examples do not count', async () => {
    const inner = plain(1);
    const idle: Stage = {
      ...inner,
      async *work(received, mine, kit) {
        const done = yield* inner.work(received, mine, kit);
        return { ...done, weight: kit.client === 'ben' ? 0 : done.weight };
      },
    };
    const { stage, seen } = watched(idle);
    const around = guarded(stage, { clip: fixed, privacy }, placed());
    const { result } = await finished(run(journalIn(folder), { stages: [around], rounds: poisson(1) }));
    expect(result.stages[0]!.leftOut.map(({ client, reason }) => `${client}: ${reason}`)).toEqual([
      expect.stringMatching(/^ben: its update has weight 0/),
    ]);
    expect(seen.map((combined) => combined.kind === 'sum' && combined.weight)).toEqual([6]);
  });

  test('the sample is not the seed’s, and is drawn once', async () => {
    const journal = journalIn(folder);
    const stage = guarded(plain(30), { clip: fixed, privacy }, placed({ rate: 0.5, expected: 3 }));
    const rounds = poisson(0.5);
    const one = await finished(run(journal, { stages: [stage], rounds }));
    const other = await finished(run(journalIn(folder), { stages: [stage], rounds }));
    const who = (of: typeof one): unknown[] => of.result.stages[0]!.rounds.map(({ participants }) => participants);
    expect(who(one)).not.toEqual(who(other));
    for (const [round, participants] of who(one).entries()) expect(journal.drawn(place, round)).toEqual(participants);
  });
});

/** A journal that dies just before a round is committed, once. */
function dying(journal: Journal, round: number): Journal {
  return {
    ...journal,
    commitRound(at, record, ...rest) {
      if (record.round === round) throw new Error('killed');
      journal.commitRound(at, record, ...rest);
    },
  };
}

test.each([
  ['a fixed', fixed, 0],
  ['a moving', { ...adaptive, countNoise: 2 }, 1],
] as const)(
  'a run with %s bound that dies between its noise and its round goes on with the same noise, sample and private states',
  async (what, clipping, counts) => {
    const name = `${what}.sqlite`;
    let draws = 0;
    // Every number of noise differs, in this process and the next.
    const normal = (): number => Math.sin(++draws);
    const noisy = (): { readonly stage: Stage; readonly seen: Combined[] } => {
      const { stage, seen } = watched(averaging(layout, { rounds: 3, steps: 1 }));
      return {
        stage: guarded(stage, { clip: clipping, privacy }, placed({ rate: 0.7, expected: 4.2, normal })),
        seen,
      };
    };
    const first = noisy();
    const journal = journalIn(folder, name);
    await expect(finished(run(dying(journal, 1), { stages: [first.stage], rounds: poisson(0.7) }))).rejects.toThrow(
      'killed',
    );
    const drawn = draws;
    const sample = journal.drawn(place, 1);
    const released = journal.released(place, 1)!;
    // The method sees what the journal holds, but for the count of its guard.
    const { sum } = released.combined;
    expect({ ...released.combined, sum: without(sum, UNCLIPPED) }).toEqual(first.seen[1]);
    expect(sum.has(UNCLIPPED)).toBe(counts === 1);
    expect(released.clients.map(({ client }) => client)).toEqual(sample);
    expect(journal.rounds(place)).toHaveLength(1);
    journal.close();

    const again = noisy();
    const reopened = journalIn(folder, name);
    const { result, events } = await finished(run(reopened, { stages: [again.stage], rounds: poisson(0.7) }));
    // The round that was under way is finished from what the journal holds: nobody works for it again.
    expect(again.seen[0]).toEqual(first.seen[1]);
    expect(draws - drawn).toBe(countNumbers(initial.factors) + counts);
    const done = events.flatMap((event) => (event.kind === 'client done' && event.round === 1 ? [event] : []));
    expect(done).toEqual([]);
    const { rounds } = result.stages[0]!;
    expect(rounds[2]!.privacy!.bound === rounds[1]!.privacy!.bound).toBe(counts === 0);
    expect(rounds[1]!.participants).toEqual(sample);
    expect(rounds[1]!.privacy).toEqual(released.privacy);
    const took = (id: string): number => rounds.filter(({ participants }) => participants.includes(id)).length;
    for (const { id } of clients) {
      const mine = reopened.privateState(place, id) as { readonly visits: number } | undefined;
      expect(mine?.visits ?? 0, id).toBe(took(id));
    }
  },
);
