import { describe, expect, it } from 'vitest';
import { collect } from '../../../tests/support/collect.ts';
import { begin, contextOf, exactKit, oneRound, plainTraining } from '../../../tests/support/rounds.ts';
import { distance, randomFactors, toyAdapter, toyLayout } from '../../../tests/toy-adapter.ts';
import { keyOfA, keyOfB, type Adapter } from '../../lora/adapter.ts';
import { AXES } from '../../lora/axis.ts';
import { directionOfA } from '../../lora/direction.ts';
import { magnitudeOfB } from '../../lora/magnitude.ts';
import type { Parametrisation } from '../../lora/parametrisation.ts';
import type { State } from '../../tensor/state.ts';
import type { Tensors } from '../../tensor/tensor.ts';
import { subtract } from '../../tensor/tensors.ts';
import type { TrainSettings } from '../../train/settings.ts';
import type { Stage } from '../stage.ts';
import { fedloraOptimizer } from './method.ts';
import { defaultRates } from './options.ts';

// Stages against the formulas of arXiv 2510.11274 as this project reads it, computed here by hand: clients k of loss
// ½‖factors − goal_k‖², whose labelled tokens are not in proportion to their examples.
const layout = toyLayout();
const start: Adapter = { layout, factors: randomFactors(layout, 1) };
const clients = [
  { client: 'c0', examples: 1, tokens: 50, goal: randomFactors(layout, 10) },
  { client: 'c1', examples: 3, tokens: 10, goal: randomFactors(layout, 11) },
  { client: 'c2', examples: 2, tokens: 40, goal: randomFactors(layout, 12) },
];
const kitsOf = (round: number) =>
  clients.map(({ goal, ...who }) => exactKit((fed) => subtract(fed, goal), { ...who, round }));

const stagesOf = (options: object, train: Partial<TrainSettings> = {}, rounds = 1): readonly Stage[] =>
  fedloraOptimizer.stages(options, contextOf(layout, { rounds, train: { ...plainTraining, ...train } }));
const named = (name: string, options: object, train?: Partial<TrainSettings>): Stage =>
  stagesOf(options, train).find((stage) => stage.name === name)!;

/** Rounds of everybody, or of those who are there in a round. */
async function runRounds(
  stage: Stage,
  shared: State,
  rounds: number,
  there: (k: number, round: number) => boolean = () => true,
) {
  const mine = new Map<string, State>();
  let state = shared;
  for (let round = 0; round < rounds; round++) {
    const kits = kitsOf(round).filter((_, k) => there(k, round));
    const members = kits.map((kit) => ({ kit, ...(mine.has(kit.client) && { mine: mine.get(kit.client)! }) }));
    const result = await oneRound(stage, state, members, round);
    state = result.shared;
    for (const [client, own] of result.mine) mine.set(client, own);
  }
  return { shared: state, mine };
}

/** Adam and AdamW by their papers' formulas, on plain numbers. */
function adamByHand(rate: (step: number) => number, decay = 0) {
  let [m, v, t]: [number[], number[], number] = [[], [], 0];
  return (x: readonly number[], g: readonly number[]): number[] => {
    t++;
    m = g.map((each, i) => 0.9 * (m[i] ?? 0) + 0.1 * each);
    v = g.map((each, i) => 0.999 * (v[i] ?? 0) + 0.001 * each ** 2);
    const now = rate(t - 1);
    return x.map((each, i) => {
      const step = m[i]! / (1 - 0.9 ** t) / (Math.sqrt(v[i]! / (1 - 0.999 ** t)) + 1e-8);
      return each - now * step - now * decay * each;
    });
  };
}

/** The gradient of a client's loss with respect to the params of one module, and the factors at those. */
const gradientOf = (by: Parametrisation, adapter: Adapter, goal: Tensors, key: string, params: readonly number[]) => {
  const point = by.at(adapter);
  const at: Tensors = new Map([[key, { shape: point.init.get(key)!.shape, data: Float32Array.from(params) }]]);
  return {
    gradient: [...point.pullback(subtract(point.toFactors(at), goal), at).get(key)!.data],
    factors: point.toFactors(at),
  };
};
const close = (actual: Tensors, expected: Tensors, within = 1e-5): void => {
  for (const [key, tensor] of expected) expect(distance(actual.get(key), tensor), key).toBeLessThan(within);
};
const weighted = (parts: readonly (readonly number[])[], weights: readonly number[]): number[] => {
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  return parts[0]!.map((_, i) => parts.reduce((sum, part, k) => sum + (weights[k]! / total) * part[i]!, 0));
};

describe.each(AXES)('the global stage, axis %s', (axis) => {
  const A = keyOfA('m0');
  it('is Adam at the server on Σ p_k·∂L_k/∂ΔA_D, p_k by labelled tokens, whatever counts in the averages', async () => {
    const stage = named(
      'global',
      { axis, weights: 'examples', global: { rounds: 3, rate: 0.05 } },
      { weightDecay: 0.3 },
    );
    // With others in each round a sum in place of the mean would weigh rounds by their tokens.
    const there = (k: number, round: number): boolean => round !== 1 || k > 0;
    const { shared } = await runRounds(stage, begin(stage, start), 3, there);
    const step = adamByHand(() => 0.05);
    let delta: number[] = [...new Float32Array(start.factors.get(A)!.data.length)];
    for (let round = 0; round < 3; round++) {
      const now = clients.filter((_, k) => there(k, round));
      const all = now.map(({ goal }) => gradientOf(directionOfA({ axis }), start, goal, A, delta).gradient);
      const tokens = now.map((each) => each.tokens);
      delta = step(delta, weighted(all, tokens));
    }
    close(
      stage.models(shared)[0]!.adapter.factors,
      gradientOf(directionOfA({ axis }), start, start.factors, A, delta).factors,
    );
  });

  it.each(['staged', 'interleaved'] as const)(
    'lets the rate of that Adam fall over all its steps: %s, `overRounds: cosine`',
    async (schedule) => {
      const [rounds, rate] = [4, 0.05];
      const options = { axis, schedule, global: { rounds, rate, overRounds: 'cosine' } };
      const stages = stagesOf(options, {}, 2).filter((stage) => stage.name === 'global');
      expect(stages).toHaveLength(schedule === 'staged' ? 1 : 2);
      const step = adamByHand((t) => rate * 0.5 * (1 + Math.cos((Math.PI * t) / rounds)));
      let [adapter, ended]: [Adapter, State | undefined] = [start, undefined];
      for (const stage of stages) {
        const { shared } = await runRounds(stage, stage.start({ adapter, before: ended, clients: [] }), stage.rounds);
        let delta: number[] = [...new Float32Array(start.factors.get(A)!.data.length)];
        let learnt = adapter.factors;
        for (let round = 0; round < stage.rounds; round++) {
          const at = clients.map(({ goal }) => gradientOf(directionOfA({ axis }), adapter, goal, A, delta).gradient);
          const tokens = clients.map((each) => each.tokens);
          delta = step(delta, weighted(at, tokens));
          learnt = gradientOf(directionOfA({ axis }), adapter, start.factors, A, delta).factors;
        }
        close(stage.models(shared)[0]!.adapter.factors, learnt);
        [adapter, ended] = [{ layout, factors: stage.models(shared)[0]!.adapter.factors }, shared];
      }
    },
  );

  it('counts nobody whose rows had no labelled token: there is no gradient of theirs', async () => {
    const stage = named('global', { axis });
    const kit = exactKit((fed) => fed, { client: 'c0', tokens: 9 });
    const without: typeof kit = {
      ...kit,
      async *gradient(request) {
        return { ...(yield* kit.gradient(request)), tokens: 0 };
      },
    };
    const received = new Map([
      ...stage.frozen!(begin(stage, start), 0),
      ...stage.broadcast(begin(stage, start), 'c0', 0),
    ]);
    const weightOf = async (from: typeof kit) => (await collect(stage.work(received, undefined, from))).result.weight;
    expect([await weightOf(kit), await weightOf(without)]).toEqual([9, 0]);
  });

  it('with `localSteps` is the mean of the clients’ own steps, without decay, by the weights of the averages', async () => {
    const options = {
      axis,
      weights: 'examples',
      globalData: 'localSteps',
      global: { rounds: 2, rate: 0.02, steps: 3 },
    };
    const stage = named('global', options, { weightDecay: 0.3, length: { steps: 7 } });
    const { shared } = await runRounds(stage, begin(stage, start), 2);
    let delta: number[] = [...new Float32Array(start.factors.get(A)!.data.length)];
    for (let round = 0; round < 2; round++) {
      const ends = clients.map(({ goal }) => {
        const step = adamByHand(() => 0.02);
        let own = delta;
        for (let i = 0; i < 3; i++) own = step(own, gradientOf(directionOfA({ axis }), start, goal, A, own).gradient);
        return own;
      });
      delta = weighted(
        ends,
        clients.map(({ examples }) => examples),
      );
    }
    close(
      stage.models(shared)[0]!.adapter.factors,
      gradientOf(directionOfA({ axis }), start, start.factors, A, delta).factors,
    );
  });
});

describe.each(AXES)('the local stage, axis %s', (axis) => {
  const B = keyOfB('m0');
  const train: Partial<TrainSettings> = { weightDecay: 0.3, schedule: 'linear' };
  it.each(['coupled', 'proximal'] as const)(
    'is AdamW without decay on ΔB_M, the penalty λ‖ΔB_M‖² %s, from the global model',
    async (penalty) => {
      const [rate, lambda, steps] = [0.05, 0.4, 4];
      const stage = named('local', { axis, lambda, penalty, local: { rate, steps } }, train);
      const { shared, mine } = await runRounds(stage, begin(stage, start), 1);
      // Warm-up of 0 steps, then in a line to 0 at the last.
      const now = (step: number): number => rate * (1 - step / steps);
      for (const { client, goal } of clients) {
        const step = adamByHand(now);
        const size = magnitudeOfB({ axis }).at(start).init.get(B)!.data.length;
        let delta: number[] = Array.from({ length: size }, () => 0);
        for (let i = 0; i < steps; i++) {
          const { gradient } = gradientOf(magnitudeOfB({ axis }), start, goal, B, delta);
          delta = step(
            delta,
            gradient.map((g, j) => g + (penalty === 'coupled' ? 2 * lambda * delta[j]! : 0)),
          );
          if (penalty === 'proximal') delta = delta.map((x) => x / (1 + 2 * now(i) * lambda));
        }
        const { factors } = gradientOf(magnitudeOfB({ axis }), start, start.factors, B, delta);
        close(stage.models(shared, mine.get(client))[0]!.adapter.factors, factors);
      }
      close(stage.models(shared)[0]!.adapter.factors, start.factors, 1e-12);
    },
  );
});

describe('rates', () => {
  it.each(AXES)('are by default those of the axis: Adam’s first step is the rate, axis %s', async (axis) => {
    for (const [name, rate] of [
      ['global', defaultRates[axis].global],
      ['local', defaultRates[axis].local],
    ] as const) {
      const stage = named(name, { axis, lambda: 0, globalData: 'clients' }, { rate: 0.9 });
      const { mine, shared } = await runRounds(stage, begin(stage, start), 1);
      const moved =
        name === 'global' ? (shared as { delta: Tensors }).delta : (mine.get('c0') as { personal: Tensors }).personal;
      for (const { data } of moved.values()) for (const x of data) expect(Math.abs(x)).toBeCloseTo(rate, 5);
    }
    expect(defaultRates[axis]).toEqual(axis === 'row' ? { global: 1e-2, local: 3e-3 } : { global: 5e-2, local: 3e-2 });
  });
});

describe('interleaved', () => {
  it('spreads the global steps over the rounds as evenly as they go', () => {
    const plan = (steps: number, rounds: number): string =>
      stagesOf({ schedule: 'interleaved', global: { rounds: steps }, local: { skip: true } }, {}, rounds)
        .map(({ name, rounds: count }) => `${name[0]}${count}`)
        .join(' ');
    expect(plan(4, 2)).toBe('f1 g2 f1 g2');
    expect(plan(2, 4)).toBe('f1 f1 g1 f1 f1 g1');
    expect(plan(3, 2)).toBe('f1 g1 f1 g2');
    expect(plan(0, 2)).toBe('f1 f1');
  });

  it('goes on with the one optimizer, from ΔA_D = 0 around the adapter of the round before', () => {
    const stage = named('global', { schedule: 'interleaved', global: { rounds: 1 } });
    const first = begin(stage, start) as { optimizer: { step: number } };
    const before = { ...first, optimizer: { ...first.optimizer, step: 5 } } as unknown as State;
    const next = stage.start({ adapter: toyAdapter(layout, 3), clients: [], before }) as unknown as {
      readonly delta: Tensors;
      readonly factors: Tensors;
      readonly optimizer: { readonly step: number };
    };
    expect(next.optimizer.step).toBe(5);
    expect([...next.delta.values()].every(({ data }) => data.every((x) => x === 0))).toBe(true);
    expect(next.factors).toEqual(toyAdapter(layout, 3).factors);
  });
});

describe('the federated rounds', () => {
  it.each(AXES)('begin at B = 0, which has no direction, and take the clients’: axis %s', async (axis) => {
    const zero: Adapter = toyAdapter(layout, 1);
    const still = new Map(
      [...zero.factors].map(([key, { shape, data }]) => [
        key,
        { shape, data: key === keyOfB('m0') ? new Float32Array(data.length) : data },
      ]),
    );
    for (const upload of ['factors', 'components'] as const) {
      const [stage] = stagesOf({ axis, upload });
      const { shared } = await runRounds(stage!, begin(stage!, { layout, factors: still }), 1);
      const { factors } = stage!.models(shared)[0]!.adapter;
      for (const { data } of factors.values()) expect(data.every(Number.isFinite)).toBe(true);
      expect(factors.get(keyOfB('m0'))!.data.some((x) => x !== 0)).toBe(true);
      // One Adam step moves a number by the rate; averages of components mix lengths and directions of such.
      expect(distance(factors.get(keyOfB('m0')), still.get(keyOfB('m0')))).toBeLessThan(0.1);
    }
  });

  it.each(['components', 'factors'] as const)(
    'with `optimizerState: keep` go on with each client’s own, `reset` begin anew: %s',
    async (average) => {
      const two = async (optimizerState: string) => {
        const [stage] = stagesOf({ average, optimizerState }, { rate: 0.02 });
        // One client only, so that an average is what it did.
        const kit = (round: number) => exactKit((fed) => subtract(fed, clients[0]!.goal), { client: 'c0', round });
        const one = await oneRound(stage!, begin(stage!, start), [{ kit: kit(0) }], 0);
        const mine = one.mine.get('c0')!;
        const next = await oneRound(stage!, one.shared, [{ kit: kit(1), mine }], 1);
        return stage!.models(next.shared)[0]!.adapter.factors;
      };
      const byHand = (reset: boolean): Tensors =>
        new Map(
          [...start.factors].map(([key, { shape, data }]) => {
            const goal = clients[0]!.goal.get(key)!.data;
            let step = adamByHand(() => 0.02);
            let x: number[] = [...data];
            for (let i = 0; i < 2; i++) {
              if (i > 0 && reset) step = adamByHand(() => 0.02);
              x = step(
                x,
                x.map((each, j) => each - goal[j]!),
              );
            }
            return [key, { shape, data: Float32Array.from(x) }];
          }),
        );
      close(await two('keep'), byHand(false), 2e-6);
      close(await two('reset'), byHand(true), 2e-6);
      expect(distance(byHand(true).get(keyOfA('m0')), byHand(false).get(keyOfA('m0')))).toBeGreaterThan(1e-5);
    },
  );
});
