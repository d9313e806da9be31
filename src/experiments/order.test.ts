import { describe, expect, test } from 'vitest';
import { embeddedModel, embeddedTasks } from '../../tests/support/workspace.ts';
import { checkConfig } from '../config/check.ts';
import type { RunConfigInput } from '../config/schema.ts';
import { knownMethods } from '../run/methods.ts';
import { openModel } from '../run/subject.ts';
import { comesAfter, ordered, shareable, type Shareable } from './order.ts';

const known = knownMethods();
const config = (more: Partial<RunConfigInput> = {}) =>
  checkConfig(
    {
      model: { path: embeddedModel },
      data: { path: embeddedTasks, format: 'jsonl' },
      methods: [{ use: 'fedit' }],
      rounds: { count: 3, sampling: 'fixed', fraction: 0.5 },
      ...more,
    },
    known,
  );

describe('what runs of a sweep share', () => {
  test('is named by all that decides it, and is nothing under guards, whose noise is each run’s own', async () => {
    const model = await openModel(embeddedModel);
    const of = (more?: Partial<RunConfigInput>): Shareable => shareable(config(more), known, model);
    const [plain] = of();
    expect(plain!.rounds).toBe(3);
    const rounds = { count: 3, sampling: 'fixed', fraction: 0.5 } as const;
    expect(of({ rounds: { ...rounds, count: 9 } })[0]!.family).toBe(plain!.family);
    const others: Partial<RunConfigInput>[] = [
      { seed: 2 },
      { train: { keepBest: { every: 2 } } },
      { train: { batchSize: 4 } },
      { train: { overRounds: 'cosine' } },
      { train: { overRounds: 'cosine', floor: 0.1 } },
      { train: { overRounds: 'linear' } },
      { lora: { rank: 4 } },
      { rounds: { ...rounds, fraction: 0.6 } },
      { rounds: { ...rounds, sampling: 'poisson' } },
      { rounds: { ...rounds, deadline: 1 } },
      { clients: { new: 1 } },
      { clients: { proxy: 4 } },
      { data: { path: '/elsewhere.jsonl', format: 'jsonl' } },
      { combine: { robust: { rule: 'median' } } },
      { evaluate: { every: 2 } },
      { runtime: { threads: 63 } },
      { runtime: { provider: 'cuda' } },
    ];
    const families = others.map((more) => of(more)[0]!.family);
    expect(new Set([plain!.family, ...families]).size).toBe(1 + others.length);
    expect(of({ train: { overRounds: 'constant' } })[0]!.family).toBe(plain!.family);
    const guards: RunConfigInput['guards'] = [
      { use: 'clip', norm: 1 },
      { use: 'privacy', noise: 1, delta: 1e-5 },
    ];
    expect(of({ guards, rounds: { ...rounds, sampling: 'poisson' } })).toEqual([]);
  });

  test('is no round where the rate falls over another number of them, and not what comes after such rounds', async () => {
    const model = await openModel(embeddedModel);
    const of = (count: number, method: RunConfigInput['methods'][number], more: Partial<RunConfigInput> = {}) =>
      shareable(
        config({ methods: [method], rounds: { count }, train: { overRounds: 'linear' }, ...more }),
        known,
        model,
      ).map(({ family }) => family);
    expect(of(3, { use: 'fedit' })).toEqual(of(3, { use: 'fedit', local: {} }).slice(0, 1));
    expect(of(3, { use: 'fedit' })).not.toEqual(of(4, { use: 'fedit' }));
    expect(of(3, { use: 'fedit', rounds: 4 })).toEqual(of(4, { use: 'fedit' }));
    // A round and a global step in turn: single stages, of which a longer run has more.
    const turns = (rounds: number) => ({
      use: 'fedlora-optimizer',
      average: 'factors',
      schedule: 'interleaved',
      rounds,
      global: { rounds },
    });
    const [short, long] = [of(2, turns(2)), of(4, turns(4))];
    expect(short.slice(0, 4).filter((family) => long.includes(family))).toEqual([]);
    const train = { overRounds: 'constant' } as const;
    const [still, longer] = [of(2, turns(2), { train }), of(4, turns(4), { train })];
    expect(longer.slice(0, 4)).toEqual(still.slice(0, 4));
  });

  test('goes first where it is shorter', () => {
    const run = (rounds: number, family = 'f') => ({ stages: [{ family, rounds }] });
    expect(ordered([run(3), run(1), run(2), run(0, 'g')]).map(({ stages: [one] }) => one!.rounds)).toEqual([
      1, 2, 3, 0,
    ]);
    expect(comesAfter(run(2).stages, run(2).stages)).toBe(false);
  });
});
