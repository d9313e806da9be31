import { describe, expect, it } from 'vitest';
import { everyone, finished, initial, journalIn, layout, run } from '../../../tests/support/federation.ts';
import { fakeEngine, goal, labelledOf, row } from '../../../tests/support/fake-engine.ts';
import { contextOf, plainTraining } from '../../../tests/support/rounds.ts';
import { averaging } from '../../../tests/support/stages.ts';
import { temporaryFolder } from '../../../tests/support/temporary.ts';
import type { ClientData } from '../../data/types.ts';
import { UserError } from '../../errors.ts';
import { fedit } from '../../methods/fedit.ts';
import type { Contribution, Stage } from '../../methods/stage.ts';
import { stream } from '../../tensor/random.ts';
import type { State } from '../../tensor/state.ts';
import type { Tensors } from '../../tensor/tensor.ts';
import { mapTensors, scale } from '../../tensor/tensors.ts';
import { RoundFailed } from '../fatal.ts';
import type { MethodRun } from '../run-method.ts';
import type { RobustRule } from './rule.ts';

const folder = temporaryFolder();
const random = stream(4, 'clients');

/** Clients with 40 rows each of the same kind: ten, and one more, which Bulyan takes to withstand 2. */
const clients: readonly ClientData[] = Array.from({ length: 11 }, (_, k) => {
  const id = `client-${String(k).padStart(2, '0')}`;
  const train = Array.from({ length: 40 }, (_, i) =>
    row(
      `${id}-${i}`,
      Array.from({ length: 5 }, () => random.integer(4)),
    ),
  );
  return { id, train, validation: [], test: [], testExamples: [] };
});
const bad = ['client-03', 'client-07'];

/** The mean loss of the honest clients' labelled tokens. */
function lossOf(factors: Tensors, of: readonly ClientData[]): number {
  const goals = of.filter(({ id }) => !bad.includes(id)).flatMap(({ train }) => labelledOf(train).map(goal));
  const sum = goals.reduce((total, at) => {
    for (const { data } of factors.values()) for (const f of data) total += (f - at) ** 2 / 2;
    return total;
  }, 0);
  return sum / goals.length;
}

type Attack = (update: Tensors, round: number) => Tensors;
const attacks: Readonly<Record<string, Attack>> = {
  'sign-flipped and scaled by 10': (update) => scale(update, -10),
  'scaled by 100': (update) => scale(update, 100),
  random: (update, round) => {
    const { normal } = stream(9, 'attack', round);
    return mapTensors(update, ({ shape, data }) => ({ shape, data: data.map(() => 10 * normal()) }));
  },
};

const attacked = (stage: Stage, change: (done: Contribution<State>, round: number) => Contribution<State>): Stage => ({
  ...stage,
  async *work(received, mine, kit) {
    const done = yield* stage.work(received, mine, kit);
    return bad.includes(kit.client) ? change(done, kit.round) : done;
  },
});
const train = { ...plainTraining, batchSize: 16, length: { steps: 8 }, rate: 3e-2 };
const [whole] = fedit.stages({}, contextOf(layout, { rounds: 6, train })) as [Stage];
const withAttack = (attack: Attack): Stage =>
  attacked(whole, (done, round) => ({ ...done, update: attack(done.update, round) }));

const running = (stage: Stage, more: Partial<MethodRun> = {}) =>
  finished(run(journalIn(folder), { stages: [stage], clients, engine: fakeEngine(layout), rounds: everyone, ...more }));
async function lossAfter(of: readonly ClientData[], stage: Stage, robust?: RobustRule): Promise<number> {
  const { result } = await running(stage, { clients: of, ...(robust && { robust }) });
  return lossOf(result.stages[0]!.models.global[0]!.adapter.factors, of);
}

/** Set for two bad clients, or for as many as there may be. */
const rules: readonly RobustRule[] = [
  { rule: 'krum', bad: 2 },
  { rule: 'multi-krum', bad: 2 },
  { rule: 'median' },
  { rule: 'trimmed-mean', share: 0.2 },
  { rule: 'geometric-median' },
  { rule: 'krum', bad: 2, distance: 'product' },
  { rule: 'multi-krum', bad: 2, distance: 'product' },
];
const bulyans: readonly RobustRule[] = [
  { rule: 'bulyan', bad: 2 },
  { rule: 'bulyan', bad: 2, distance: 'product' },
];

describe.each(Object.entries(attacks))('two clients send updates that are %s', (_, attack) => {
  it.each([
    { count: 10, withstand: rules },
    { count: 11, withstand: bulyans },
  ])(
    'of $count: FedIT breaks, and stays within 5 % of the loss without attack by every rule that takes so few',
    async ({ count, withstand }) => {
      const of = clients.slice(0, count);
      const calm = await lossAfter(of, whole);
      expect(calm).toBeLessThan(0.6 * lossOf(initial.factors, of));
      expect(await lossAfter(of, withAttack(attack))).toBeGreaterThan(1.5 * calm);
      for (const robust of withstand)
        expect(await lossAfter(of, withAttack(attack), robust), robust.rule).toBeLessThan(1.05 * calm);
    },
  );
});

describe('a run with a robust rule', () => {
  const robust: RobustRule = { rule: 'multi-krum', bad: 2 };

  it('has the same bits however many clients work at a time', async () => {
    const stage = withAttack(attacks['random']!);
    const [one, four] = [await running(stage, { robust }), await running(stage, { robust, concurrency: 4 })];
    expect(four.print).toBe(one.print);
  });

  it('leaves out who sends other tensors than most', async () => {
    const stage = attacked(whole, (done) => ({ ...done, update: new Map([...done.update].slice(1)) }));
    const { result } = await running(stage, { robust });
    const [round] = result.stages[0]!.rounds;
    expect(round!.participants).toHaveLength(9);
    expect(round!.leftOut.map(({ client }) => client)).toEqual(bad);
    expect(round!.leftOut[0]!.reason).toContain('does not fit that of 9 other client(s)');
  });

  it('fails a round with fewer updates than the rule takes, and says so', async () => {
    const missing = attacked(whole, (done) => ({ ...done, weight: NaN }));
    const failed = running(missing, { robust: { rule: 'bulyan', bad: 2 } });
    await expect(failed).rejects.toBeInstanceOf(RoundFailed);
    await expect(failed).rejects.toThrow('has 9 update(s) of 11 client(s), and bulyan takes at least 11');
  });

  it('refuses a stage that combines single updates itself', async () => {
    const each = averaging(layout, { rounds: 1, combine: 'each' }) as Stage;
    const refused = running(each, { robust });
    await expect(refused).rejects.toBeInstanceOf(UserError);
    await expect(refused).rejects.toThrow('combines the clients’ updates itself, and multi-krum cannot take its place');
  });
});
