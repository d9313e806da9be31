import { describe, expect, test } from 'vitest';
import { clients, finished, initial, journalIn, layout, run } from '../../tests/support/federation.ts';
import {
  adaptive,
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
import type { Stage } from '../methods/stage.ts';
import type { Tensors } from '../tensor/tensor.ts';
import { add, byteSize, countNumbers, norm, sameBits, subtract } from '../tensor/tensors.ts';
import { BOUND } from './beside.ts';
import { guarded, type GuardedShared } from './guarded.ts';
import type { Guards } from './guards.ts';
import type { WithHeld } from './held.ts';

const folder = temporaryFolder();

describe('adaptive clipping', () => {
  test('follows the norms, and its bound is in the journalled state and in the broadcast', async () => {
    const norms = (await updates(folder)).map(norm);
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
