import { describe, expect, test } from 'vitest';
import { clients, finished, initial, journalIn, layout, run } from '../../tests/support/federation.ts';
import { averaging, local } from '../../tests/support/stages.ts';
import { temporaryFolder } from '../../tests/support/temporary.ts';
import type { RoundSettings } from '../federation/events.ts';
import type { Journal } from '../federation/journal.ts';
import type { Combined, Stage } from '../methods/stage.ts';
import type { State } from '../tensor/state.ts';
import type { Tensors } from '../tensor/tensor.ts';
import { add, byteSize, countNumbers, norm, sameBits, scale, subtract } from '../tensor/tensors.ts';
import { rdpEpsilon } from './accountant/rdp.ts';
import { BOUND, UNCLIPPED, without } from './beside.ts';
import { clip } from './clip.ts';
import { guarded, type GuardedShared } from './guarded.ts';
import type { GuardedAt, Guards } from './guards.ts';
import type { WithHeld } from './held.ts';

const folder = temporaryFolder();
const poisson = (fraction: number): RoundSettings => ({ sampling: 'poisson', fraction, deadline: 60, minimum: 1 });
const place = { method: 'method', stage: 'federated', stageIndex: 0 };
const privacy = { noise: 1, delta: 1e-5, accountant: 'rdp' } as const;
const fixed = { use: 'clip', norm: 0.3 } as const;
const adaptive = { use: 'adaptive-clip', initial: 0.125, quantile: 0.5, rate: 0.2 } as const;

const placed = (more: Partial<GuardedAt> = {}): GuardedAt => ({
  seed: 3,
  stageIndex: 0,
  client: 'ann',
  rate: 1,
  expected: clients.length,
  spent: [],
  normal: () => 0,
  ...more,
});
/** Federated averaging of clients that keep nothing, so that every round's update is known from what was sent. */
function plain(rounds: number): Stage {
  const stage = averaging(layout, { rounds, steps: 1, batchSize: 100, rate: 0.4 });
  return {
    ...stage,
    async *work(received, _, kit) {
      return { ...(yield* stage.work(received, undefined, kit)), mine: null };
    },
  };
}
const end = (shared: State): Tensors => (shared as GuardedShared).inner as Tensors;

/** Notes every update that is applied. */
function watched(stage: Stage): { readonly stage: Stage; readonly seen: Combined[] } {
  const seen: Combined[] = [];
  const apply: Stage['apply'] = (shared, combined, round) => {
    seen.push(combined);
    return stage.apply(shared, combined, round);
  };
  return { stage: { ...stage, apply }, seen };
}

/** What each client would send in the first round, without guards. */
async function updates(): Promise<Tensors[]> {
  const { stage, seen } = watched({ ...plain(1), combine: 'each' });
  await finished(run(journalIn(folder), { stages: [stage] }));
  const [combined] = seen;
  return combined?.kind === 'each' ? combined.updates.map(({ update }) => update) : [];
}

describe('with privacy', () => {
  const sum = (parts: readonly Tensors[]): Tensors => parts.reduce((total, part) => add(total, part));

  test('a round moves the model by Σ clipped / (q·N), whoever came and whatever examples they have', async () => {
    const clipped = (await updates()).map((update) => clip(update, fixed.norm).update);
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

describe('adaptive clipping', () => {
  test('follows the norms, and its bound is in the journalled state and in the broadcast', async () => {
    const norms = (await updates()).map(norm);
    const sorted = norms.toSorted((a, b) => a - b);
    const initialBound = Math.fround((sorted[2]! + sorted[3]!) / 2);
    const stage = guarded(plain(1), { clip: { ...adaptive, initial: initialBound } }, placed()) as Stage;
    const { result } = await finished(run(journalIn(folder), { stages: [stage] }));
    const { shared } = result.stages[0]!;
    // Weights are examples here: 3, 4, … 8 of 33.
    const share = norms.reduce((sum, size, k) => sum + (size <= initialBound ? 3 + k : 0), 0) / 33;
    expect(share).toBeGreaterThan(0);
    expect(share).toBeLessThan(1);
    const bound = Math.fround(initialBound * Math.exp(-0.2 * (share - 0.5)));
    expect((shared as GuardedShared).bound).toBeCloseTo(bound, 6);
    expect(stage.broadcast(shared, 'ann', 1).get(BOUND)!.data[0]).toBe((shared as GuardedShared).bound);
  });

  test('with privacy its count has a noise of its own, and the updates the more for it', async () => {
    const normal = (): number => 1;
    const guards: Guards = { clip: { ...adaptive, countNoise: 1 }, privacy };
    const nobody = guarded(plain(1), guards, placed({ rate: 1e-9, expected: 4, normal }));
    const { result } = await finished(run(journalIn(folder), { stages: [nobody], rounds: poisson(1e-9) }));
    const { shared } = result.stages[0]!;
    const update = (1 / Math.sqrt(1 - 1 / 4)) * 0.125;
    const moved = subtract(end(shared), initial.factors);
    for (const { data } of moved.values()) for (const x of data) expect(x).toBeCloseTo(update / 4, 6);
    // Nobody there: half and the noise, over four.
    expect((shared as GuardedShared).bound).toBeCloseTo(0.125 * Math.exp(-0.2 * (1 / 4)), 6);
    // Together they cost what z alone would.
    expect(result.stages[0]!.rounds[0]!.privacy!.noise).toBe(1);
  });

  test('goes on in a later stage of the same name', () => {
    const stage = guarded(plain(1), { clip: adaptive }, placed()) as Stage;
    const names = clients.map(({ id }) => id);
    const before = { inner: initial.factors, bound: 0.25 };
    const started = stage.start({ adapter: initial, clients: names, before, previous: before }) as GuardedShared;
    expect(started.bound).toBe(0.25);
    expect((stage.start({ adapter: initial, clients: names, before: undefined }) as GuardedShared).bound).toBe(0.125);
  });
});

describe('compression', () => {
  const numbers = countNumbers(initial.factors);
  const rows = [...initial.factors.values()].reduce((sum, { shape }) => sum + shape[0]!, 0);
  const upOf = async (guards: Guards): Promise<number> => {
    const stage = guarded(plain(1), guards, placed());
    const { result } = await finished(run(journalIn(folder), { stages: [stage] }));
    return [...result.stages[0]!.traffic.values()][0]!.up;
  };

  test('counts the bytes of what is sent', async () => {
    expect(await upOf({})).toBe(byteSize(initial.factors));
    expect(await upOf({ compress: { use: 'int8' } })).toBe(numbers + 4 * rows);
    const bits = Math.round(0.25 * numbers) * (32 + Math.ceil(Math.log2(numbers)));
    expect(await upOf({ compress: { use: 'top-k', share: 0.25 } })).toBe(Math.ceil(bits / 8));
  });

  test('int8 is the same bits again, and near', async () => {
    const ended = async (guards: Guards): Promise<Tensors> => {
      const { result } = await finished(run(journalIn(folder), { stages: [guarded(plain(2), guards, placed())] }));
      return end(result.stages[0]!.shared);
    };
    const [rounded, again, exact] = [
      await ended({ compress: { use: 'int8' } }),
      await ended({ compress: { use: 'int8' } }),
      await ended({}),
    ];
    expect(sameBits(rounded, again)).toBe(true);
    expect(norm(subtract(rounded, exact))).toBeGreaterThan(0);
    expect(norm(subtract(rounded, exact))).toBeLessThan(0.01 * norm(subtract(exact, initial.factors)));
  });

  test('what top-k holds back is a client’s own, and commits only when its update was accepted', async () => {
    const stage = guarded(plain(3), { compress: { use: 'top-k', share: 0.2 } }, placed()) as Stage;
    const held: Tensors[] = [];
    const sent: Tensors[] = [];
    const wanted: Tensors[] = [];
    const failing: Stage = {
      ...stage,
      async *work(received, mine, kit) {
        const done = yield* stage.work(received, mine, kit);
        if (kit.client !== 'ben') return done;
        const before = (mine as WithHeld | undefined)?.held['federated'];
        if (before) held.push(before);
        const after = (done.mine as WithHeld).held['federated']!;
        sent.push(done.update);
        wanted.push(before ? subtract(add(done.update, after), before) : add(done.update, after));
        // The server refuses it in the second round.
        return kit.round === 1 ? { ...done, weight: -1 } : done;
      },
    };
    const journal = journalIn(folder);
    const { result } = await finished(run(journal, { stages: [failing] }));
    expect(result.stages[0]!.leftOut.map(({ round, client }) => [round, client])).toEqual([[1, 'ben']]);
    // The third round begins where the first ended.
    expect(held).toHaveLength(2);
    expect(sameBits(held[0]!, held[1]!)).toBe(true);
    const last = (journal.privateState(place, 'ben') as WithHeld).held['federated']!;
    const accepted = (of: readonly Tensors[]): Tensors => add(of[0]!, of[2]!);
    expect(norm(subtract(add(accepted(sent), last), accepted(wanted)))).toBeLessThan(1e-6);
    expect(norm(last)).toBeGreaterThan(0);
  });

  test('before clipping: what is sent keeps the bound, and the rest waits', async () => {
    const guards: Guards = { compress: { use: 'top-k', share: 0.5 }, clip: fixed };
    const { stage: inner, seen } = watched({ ...plain(2), combine: 'each' });
    await finished(run(journalIn(folder), { stages: [guarded(inner, guards, placed())] }));
    for (const combined of seen) {
      for (const { update } of combined.kind === 'each' ? combined.updates : []) {
        expect(norm(update)).toBeLessThanOrEqual(fixed.norm);
        expect([...update.values()].flatMap(({ data }) => [...data]).filter((x) => x !== 0)).toHaveLength(numbers / 2);
      }
    }
    expect(seen).toHaveLength(2);
  });
});

test('without any guard of theirs, stages go through guards as they are', async () => {
  const bare = [averaging(layout, { rounds: 2 }), local(layout)] as Stage[];
  const around = bare.map((stage, stageIndex) => guarded(stage, {}, placed({ stageIndex }))) as Stage[];
  const [one, other] = [
    await finished(run(journalIn(folder), { stages: bare })),
    await finished(run(journalIn(folder), { stages: around })),
  ];
  expect(sameBits(end(other.result.stages[1]!.shared), one.result.stages[1]!.shared as Tensors)).toBe(true);
  for (const { id } of clients) {
    const [a, b] = [one, other].map(({ result }) => result.stages[1]!.models.personal(id)![0]!.adapter.factors);
    expect(sameBits(a!, b!)).toBe(true);
  }
});
