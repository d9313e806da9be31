import { describe, expect, test } from 'vitest';
import { clients, finished, initial, journalIn, layout, run as runIn } from '../../tests/support/federation.ts';
import { temporaryFolder } from '../../tests/support/temporary.ts';
import { checkConfig } from '../config/check.ts';
import { defaultSecureSettings as secure } from '../federation/secure/combiner.ts';
import type { GuardedShared } from '../guard/guarded.ts';
import { rdpEpsilon } from '../guard/accountant/rdp.ts';
import { keyOfB } from '../lora/adapter.ts';
import { methods } from '../methods/registry.ts';
import { zeros } from '../tensor/tensors.ts';
import { withGuards } from './guards.ts';
import { knownMethods, layOut, type LaidOut } from './methods.ts';

const folder = temporaryFolder();
const known = knownMethods();
const names = clients.map(({ id }) => id);
const needed: Record<string, object> = { fedper: { local: ['lora_B'] }, 'fedlora-optimizer': { upload: 'components' } };
const short: Record<string, object> = { 'fedlora-optimizer': { global: { rounds: 2 }, schedule: 'interleaved' } };
// Fed-SB makes factors of its own and begins at the base model only.
const fresh = {
  layout,
  factors: new Map([
    ...initial.factors,
    ...layout.modules.map(({ name, outFeatures, rank }) => [keyOfB(name), zeros([outFeatures, rank])] as const),
  ]),
};

/** A method with guards around it; undefined where it refuses them. */
function around(use: string, guards: readonly object[], sampling: object, more: object = {}): LaidOut | undefined {
  const own = { use, ...needed[use], ...short[use] };
  const rounds = { count: 2, ...sampling };
  const train = { steps: 1, batchSize: 2, rate: 1e-2 };
  const given = {
    model: { path: 'm' },
    data: { path: 'd', format: 'dolly' },
    methods: [own],
    rounds,
    train,
    guards,
    ...more,
  };
  const config = checkConfig(given, known);
  try {
    return withGuards(config, layOut(config, known, layout), { clients: names, proxy: false, known })[0]!;
  } catch {
    return undefined;
  }
}

const privately = [{ use: 'int8' }, { use: 'clip', norm: 0.2 }, { use: 'privacy', noise: 1, delta: 1e-5 }];
const compressed = [
  { use: 'top-k', share: 0.3 },
  { use: 'adaptive-clip', initial: 0.05 },
];

const uses = methods.map(({ name }) => name);
const poisson = { sampling: 'poisson', fraction: 1 } as const;
const everyone = { sampling: 'all' } as const;
const runs = (laid: LaidOut, use: string, sampling: object, more: object = {}) =>
  finished(
    runIn(journalIn(folder), {
      stages: laid.stages,
      rounds: { fraction: 1, deadline: 60, minimum: 1, ...everyone, ...sampling },
      ...(use === 'fed-sb' && { initial: fresh }),
      ...more,
    }),
  );

describe('runs privately, at what its rounds with clients cost', () => {
  const able = uses.flatMap((use) => [[use, around(use, privately, poisson)] as const]).filter(([, laid]) => laid);
  test.each(able)('%s', async (use, laid) => {
    const { stages } = laid!;
    const { result } = await runs(laid!, use, poisson);
    const costly = stages.filter(({ combine }) => combine !== 'none').reduce((sum, stage) => sum + stage.rounds, 0);
    const costs = result.stages.flatMap((stage) => stage.rounds.flatMap(({ privacy }) => privacy?.epsilon ?? []));
    expect(costs).toHaveLength(costly);
    if (costly > 0) {
      expect(costs.at(-1)).toBeCloseTo(rdpEpsilon([{ noise: 1, rate: 1, steps: costly }], 1e-5).epsilon, 10);
    }
    expect(result.stages.flatMap(({ leftOut }) => leftOut)).toEqual([]);
    expect(result.stages.every(({ tokens }) => tokens === 0)).toBe(true);
  });
});

describe('runs privately under masks, with noise of the clients’ own, at what all its rounds with clients cost', () => {
  const masked = { combine: 'secure' };
  const guards = privately.slice(1);
  const able = uses
    .flatMap((use) => [[use, around(use, guards, everyone, masked)] as const])
    .filter(([, laid]) => laid);
  test.each(able)('%s', async (use, laid) => {
    const { result } = await runs(laid!, use, everyone, { secure });
    const costly = laid!.stages.filter(({ combine }) => combine !== 'none');
    const rounds = costly.reduce((sum, stage) => sum + stage.rounds, 0);
    const costs = result.stages.flatMap((stage) => stage.rounds.flatMap(({ privacy }) => privacy ?? []));
    expect(costs.map(({ honest }) => honest)).toEqual(Array.from({ length: rounds }, () => 3));
    if (rounds > 0)
      expect(costs.at(-1)!.epsilon).toBe(rdpEpsilon([{ noise: 1, rate: 1, steps: rounds }], 1e-5).epsilon);
    expect(result.stages.flatMap(({ leftOut }) => leftOut)).toEqual([]);
  });

  test('they are those that run privately without masks', () => {
    const others = uses.filter((use) => around(use, privately, poisson));
    expect(able.map(([use]) => use)).toEqual(others);
    expect(others.length).toBeGreaterThan(10);
  });
});

describe('runs compressed, with a bound that moves where anything is sent', () => {
  const able = uses.flatMap((use) => [[use, around(use, compressed, everyone)] as const]).filter(([, laid]) => laid);
  test.each(able)('%s', async (use, laid) => {
    const { result } = await runs(laid!, use, everyone);
    expect(result.stages.flatMap(({ leftOut }) => leftOut)).toEqual([]);
    for (const [i, { shared, models }] of result.stages.entries()) {
      const { bound } = shared as GuardedShared;
      if (laid!.stages[i]!.guard === undefined) expect(bound).toBeNull();
      else expect(bound).not.toBe(Math.fround(0.05));
      // What is held back stands beside the method's own state, and is no model.
      for (const { id } of clients) {
        for (const { adapter } of models.personal(id) ?? []) expect(adapter.factors.size).toBe(initial.factors.size);
      }
    }
  });
});

test('the methods that run neither way are those that no guard may stand around', () => {
  const refused = methods.filter(
    ({ name }) => !around(name, privately, { sampling: 'poisson' }) && !around(name, compressed, {}),
  );
  expect(refused.map(({ name }) => name).toSorted()).toEqual(['fedalt', 'flexlora', 'flora', 'scaffold']);
});
