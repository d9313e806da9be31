import { describe, expect, test } from 'vitest';
import { clients, finished, initial, journalIn, layout, run } from '../../tests/support/federation.ts';
import { fakeClient, fakeEngine, goal, labelledOf } from '../../tests/support/fake-engine.ts';
import { averaging, local, visitsOf } from '../../tests/support/stages.ts';
import { temporaryFolder } from '../../tests/support/temporary.ts';
import { UserError } from '../errors.ts';
import type { Stage } from '../methods/stage.ts';
import { stream } from '../tensor/random.ts';
import { byteSize, sameBits } from '../tensor/tensors.ts';
import type { Tensors } from '../tensor/tensor.ts';
import type { RunEvent } from './events.ts';

const folder = temporaryFolder();
const numbers = (tensors: Tensors): number[] => [...tensors.values()].flatMap(({ data }) => [...data]);

describe('a run', () => {
  test('of federated averaging reaches its closed form', async () => {
    // Each client: f ← c + 0.9·(f − c) with its own c; averaged by examples, so with the mean c̄ = Σ n·c / Σ n.
    const whole = averaging(layout, { rounds: 3, steps: 1, batchSize: 100 });
    const stage: Stage = { ...whole, work: (received, _, kit) => whole.work(received, undefined, kit) };
    const { result } = await finished(run(journalIn(folder), { stages: [stage] }));
    const rows = clients.reduce((sum, { train }) => sum + train.length, 0);
    const centre = clients.reduce((sum, { train }) => {
      const goals = labelledOf(train).map(goal);
      return sum + (train.length * goals.reduce((a, b) => a + b, 0)) / goals.length / rows;
    }, 0);
    const expected = numbers(initial.factors).map((f) => centre + 0.9 ** 3 * (f - centre));
    const reached = numbers(result.stages[0]!.models.global[0]!.adapter.factors);
    reached.forEach((value, i) => expect(value).toBeCloseTo(expected[i]!, 5));
  });

  test('tells what happens, in order', async () => {
    const stages = [averaging(layout, { rounds: 2, steps: 1 }), local(layout, { steps: 1 })];
    const { events } = await finished(run(journalIn(folder), { stages, clients: clients.slice(0, 2) }));
    const told = events.map((event) =>
      'client' in event
        ? `${event.kind} ${event.client}`
        : event.kind === 'client done'
          ? `done ${event.record.client}`
          : event.kind,
    );
    const round = ['round started', 'progress ann', 'done ann', 'progress ben', 'done ben', 'round done'];
    expect(told).toEqual(['stage started', ...round, ...round, 'stage done', 'stage started', ...round, 'stage done']);
    expect(events[0]).toEqual({
      kind: 'stage started',
      method: 'method',
      stage: 'federated',
      stageIndex: 0,
      rounds: 2,
      resumedAt: 0,
    });
    expect(events[1]).toMatchObject({ round: 0, clients: ['ann', 'ben'] });
    expect(events.at(-2)).toMatchObject({ kind: 'round done', stage: 'local', stageIndex: 1, round: 0 });
  });

  test('counts tokens, losses and bytes as they were', async () => {
    const { events, result } = await finished(run(journalIn(folder), { stages: [averaging(layout, { rounds: 2 })] }));
    const progress = events.flatMap((event) => (event.kind === 'progress' ? [event] : []));
    const [stage] = result.stages;
    const bytes = byteSize(initial.factors);
    for (const record of stage!.rounds) {
      const steps = progress.filter(({ round }) => round === record.round).map((event) => event.progress);
      const tokens = steps.reduce((sum, step) => sum + step.tokens, 0);
      expect(record.tokens).toBe(tokens);
      expect(record.processed).toBe(steps.reduce((sum, step) => sum + step.processed, 0));
      expect(record.trainLoss).toBeCloseTo(steps.reduce((sum, step) => sum + step.loss * step.tokens, 0) / tokens, 10);
      expect([record.up, record.down]).toEqual([6 * bytes, 6 * bytes]);
      expect(record.participants).toEqual(['ann', 'ben', 'cho', 'dee', 'eli', 'fay']);
      expect(record.clientSeconds).toBeLessThanOrEqual(record.seconds);
    }
    expect(stage!.tokens).toBe(progress.reduce((sum, event) => sum + event.progress.tokens, 0));
    expect([...stage!.traffic]).toEqual(clients.map(({ id }) => [id, { up: 2 * bytes, down: 2 * bytes }]));
  });

  test('keeps the most memory of each round, and of a stage if it is known of all', async () => {
    // Asked at the start of a round, which nobody is told of, and at its end.
    const told = [1, 70, 2, 90, 3, 80, 4, undefined];
    const peakMemory = (): number | undefined => told.shift();
    const stages = [averaging(layout, { rounds: 3 }), local(layout)];
    const { result } = await finished(run(journalIn(folder), { stages, peakMemory }));
    const [shared, own] = result.stages;
    expect(shared!.rounds.map((record) => record.peakMemory)).toEqual([70, 90, 80]);
    expect(shared!.peakMemory).toBe(90);
    expect(own!.rounds[0]).not.toHaveProperty('peakMemory');
    expect(own).not.toHaveProperty('peakMemory');
    expect(told).toEqual([]);
  });

  test('sends what is frozen once per client and stage', async () => {
    const plain = averaging(layout, { rounds: 3 });
    const isB = ([name]: [string, unknown]): boolean => name.endsWith('lora_B');
    const split: Stage = {
      ...plain,
      frozen: (shared) => new Map([...(shared as Tensors)].filter((entry) => !isB(entry))),
      broadcast: (shared) => new Map([...(shared as Tensors)].filter(isB)),
      async *work(received, mine, kit) {
        const done = yield* plain.work(received, mine, kit);
        return { ...done, update: new Map([...done.update].filter(isB)) };
      },
      apply: (shared, combined) => {
        const held = shared as Tensors;
        return new Map([...held, ...plain.apply(new Map([...held].filter(isB)), combined, 0)]);
      },
    };
    const { result } = await finished(run(journalIn(folder), { stages: [split, split] }));
    const all = byteSize(initial.factors);
    const b = byteSize(new Map([...initial.factors].filter(isB)));
    for (const stage of result.stages) {
      expect([...stage.traffic.values()]).toEqual(clients.map(() => ({ up: 3 * b, down: all - b + 3 * b })));
    }
    const clash: Stage = { ...plain, frozen: (shared) => shared as Tensors };
    await expect(finished(run(journalIn(folder), { stages: [clash] }))).rejects.toThrow(
      'under the name of a frozen one',
    );
  });

  test('has the same bits however many tasks run at once and in whatever order they end', async () => {
    const stages = [averaging(layout, { rounds: 4 }), local(layout)];
    const alone = await finished(run(journalIn(folder), { stages }));
    for (const seed of [1, 2, 3]) {
      const random = stream(seed, 'delays');
      const delay = (): Promise<void> => new Promise((done) => setTimeout(done, random.integer(4)));
      const engine = fakeEngine(layout, { delay });
      const together = await finished(run(journalIn(folder), { stages, engine, concurrency: 4 }));
      const order = (events: RunEvent[]): string[] =>
        events.flatMap((event) => (event.kind === 'client done' ? [event.record.client] : []));
      expect(order(together.events)).not.toEqual(order(alone.events));
      expect(together.print).toBe(alone.print);
    }
  });

  test('has the same result by sum and by each, for an apply that is linear', async () => {
    const by = async (combine: 'sum' | 'each') =>
      (await finished(run(journalIn(folder), { stages: [averaging(layout, { rounds: 5, combine })] }))).result
        .stages[0]!;
    const [sum, each] = [await by('sum'), await by('each')];
    expect(sameBits(sum.shared as Tensors, each.shared as Tensors)).toBe(true);
    expect(sum.rounds.map(({ trainLoss }) => trainLoss)).toEqual(each.rounds.map(({ trainLoss }) => trainLoss));
  });
});

describe('stages', () => {
  test('begin where the one before ended, and know where one of their name ended', async () => {
    const seen: unknown[] = [];
    const stage = (name: string): Stage => {
      const plain = averaging(layout, { name, rounds: 2, steps: 1 });
      return {
        ...plain,
        start(from) {
          seen.push([from.adapter.factors, from.before, from.clients]);
          return plain.start(from);
        },
      };
    };
    const { result } = await finished(run(journalIn(folder), { stages: [stage('x'), stage('y'), stage('x')] }));
    const ends = result.stages.map(({ shared }) => shared);
    const names = clients.map(({ id }) => id);
    expect(seen).toEqual([
      [initial.factors, undefined, names],
      [ends[0], undefined, names],
      [ends[1], ends[0], names],
    ]);
  });

  test('that are repeated draw on: two of one round are one of two', async () => {
    const sampled = { sampling: 'fixed', fraction: 0.5, deadline: 60, minimum: 1 } as const;
    const once = (rounds: number): Stage => averaging(layout, { rounds, steps: 1 });
    const one = await finished(run(journalIn(folder), { stages: [once(2)], rounds: sampled }));
    const two = await finished(run(journalIn(folder), { stages: [once(1), once(1)], rounds: sampled }));
    expect(sameBits(two.result.stages[1]!.shared as Tensors, one.result.stages[0]!.shared as Tensors)).toBe(true);
  });

  test('of no rounds change nothing', async () => {
    const { result } = await finished(run(journalIn(folder), { stages: [averaging(layout, { rounds: 0 })] }));
    expect(sameBits(result.stages[0]!.shared as Tensors, initial.factors)).toBe(true);
    expect(result.stages[0]).toMatchObject({ rounds: [], tokens: 0, leftOut: [] });
  });

  test('that send nothing move only private states', async () => {
    const { result } = await finished(run(journalIn(folder), { stages: [local(layout)] }));
    const [stage] = result.stages;
    expect(sameBits(stage!.shared as Tensors, initial.factors)).toBe(true);
    expect([...stage!.traffic.values()].every(({ up }) => up === 0)).toBe(true);
    for (const { id } of clients) {
      expect(sameBits(stage!.models.personal(id)![0]!.adapter.factors, initial.factors), id).toBe(false);
    }
  });

  test('of the server’s own rows have one participant, and no traffic', async () => {
    const proxy = fakeClient('proxy', 5, 11);
    const stage: Stage = { ...averaging(layout, { rounds: 2 }), participants: 'proxy' };
    const rounds = { sampling: 'all', fraction: 1, deadline: 60, minimum: 4 } as const;
    const { result } = await finished(run(journalIn(folder), { stages: [stage], proxy, rounds }));
    expect(result.stages[0]!.rounds.map(({ participants, up, down }) => [participants, up, down])).toEqual([
      [['proxy'], 0, 0],
      [['proxy'], 0, 0],
    ]);
    await expect(finished(run(journalIn(folder), { stages: [stage] }))).rejects.toThrow(
      new UserError('stage “federated” of method needs proxy data at the server: set clients.proxy'),
    );
    const named = [...clients, fakeClient('proxy', 2, 1)];
    await expect(finished(run(journalIn(folder), { stages: [stage], proxy, clients: named }))).rejects.toThrow(
      UserError,
    );
  });

  test('need one adapter to begin from', async () => {
    const plain = averaging(layout, { rounds: 1 });
    const mixed: Stage = {
      ...plain,
      models: (shared, mine) => [...plain.models(shared as Tensors, mine), ...plain.models(shared as Tensors)],
    };
    await expect(finished(run(journalIn(folder), { stages: [mixed, plain] }))).rejects.toThrow(
      'ends with a mix of 2 adapters',
    );
  });
});

describe('sampling', () => {
  test('a client has as many visits as rounds it took part in', async () => {
    const sampled = { sampling: 'poisson', fraction: 0.4, deadline: 60, minimum: 1 } as const;
    const journal = journalIn(folder);
    const stage = averaging(layout, { rounds: 20, steps: 1 });
    const { result } = await finished(run(journal, { stages: [stage], rounds: sampled }));
    const { rounds } = result.stages[0]!;
    for (const { id } of clients) {
      const took = rounds.filter(({ participants }) => participants.includes(id)).length;
      expect(visitsOf(journal.privateState({ method: 'method', stage: 'federated', stageIndex: 0 }, id))).toBe(took);
    }
    expect(new Set(rounds.map(({ participants }) => participants.length)).size).toBeGreaterThan(2);
  });

  test('a Poisson round of nobody passes and changes nothing', async () => {
    const never = { sampling: 'poisson', fraction: 1e-9, deadline: 60, minimum: 2 } as const;
    const stage = averaging(layout, { rounds: 3 });
    const { result } = await finished(run(journalIn(folder), { stages: [stage], rounds: never }));
    expect(result.stages[0]!.rounds.map(({ participants, trainLoss }) => [participants, trainLoss])).toEqual(
      Array.from({ length: 3 }, () => [[], null]),
    );
    expect(sameBits(result.stages[0]!.shared as Tensors, initial.factors)).toBe(true);
  });
});

test('a round is evaluated with its global model before it is committed, and not in stages that change none', async () => {
  const journal = journalIn(folder);
  const at: string[] = [];
  const stages = [averaging(layout, { rounds: 2 }), local(layout)];
  const { result } = await finished(
    run(journal, {
      stages,
      evaluateRound: async (global, { method, stage, stageIndex, round }) => {
        at.push(`${method} ${stage} ${stageIndex} ${round}`);
        expect(journal.rounds({ method, stage, stageIndex })).toHaveLength(round);
        return round === 0 ? undefined : numbers(global[0]!.adapter.factors)[0]!;
      },
    }),
  );
  expect(at).toEqual(['method federated 0 0', 'method federated 0 1']);
  const [first, second] = result.stages[0]!.rounds;
  expect(first).not.toHaveProperty('validationLoss');
  expect(second!.validationLoss).toBe(numbers(result.stages[0]!.shared as Tensors)[0]);
});
