import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { plainTraining } from '../../tests/support/rounds.ts';
import { runOn, smallLlama, type SmallLlama } from '../../tests/support/small-llama.ts';
import { temporaryFolder } from '../../tests/support/temporary.ts';
import type { MethodResult } from '../federation/events.ts';
import type { MethodRun } from '../federation/run-method.ts';
import { stack } from '../lora/mix.ts';
import { byteSize, sameBits } from '../tensor/tensors.ts';
import { averageFactors } from './average-factors.ts';
import { factors } from '../lora/factors.ts';
import { methods } from './registry.ts';
import type { MethodContext, Stage } from './stage.ts';

const rounds = 2;
const clientCount = 3;
const folder = temporaryFolder();
let llama: SmallLlama;
beforeAll(async () => {
  llama = await smallLlama();
});
afterAll(() => llama.engine.close());

const context = (more: Partial<MethodContext> = {}): MethodContext => ({
  layout: llama.layout,
  rounds,
  fraction: 1,
  train: { ...plainTraining, batchSize: 4, length: { steps: 2 }, rate: 3e-3, weightDecay: 0.1, clip: 1 },
  ...more,
});

const run = (stages: readonly Stage[], more: Partial<MethodRun> = {}): Promise<MethodResult> =>
  runOn(llama, folder, { stages, ...more });

/** Numbers of one module: its rank r, fan-in n, fan-out m. */
interface Sizes {
  readonly r: number;
  readonly m: number;
  readonly n: number;
}
/** Numbers that one client sends and is sent, per module, over all rounds. */
interface Traffic {
  readonly up: (sizes: Sizes) => number;
  readonly down: (sizes: Sizes) => number;
}
const every = (perRound: (sizes: Sizes) => number) => (sizes: Sizes) => rounds * perRound(sizes);
const both = every(({ r, m, n }) => r * (m + n));
const none = () => 0;

/** What each method is tried with beside its defaults, and its traffic in closed form (per module). */
const tried: Record<
  string,
  {
    readonly options?: object;
    readonly traffic: Traffic;
    /** Numbers beside those of the modules, each way. */
    readonly beside?: number;
  }
> = {
  'fedlora-optimizer': {
    options: { global: { rounds: 3 } },
    // Three global steps: the gradient of A_D up, ΔA_D down, and the frozen factors down once; the local stage is sent the whole.
    traffic: {
      up: (s) => both(s) + 3 * s.r * s.n,
      down: (s) => both(s) + 3 * s.r * s.n + 2 * s.r * (s.m + s.n),
    },
  },
  fedit: { traffic: { up: both, down: both } },
  fedprox: { traffic: { up: both, down: both } },
  scaffold: { traffic: { up: (s) => 2 * both(s), down: (s) => 2 * both(s) } },
  fedavgm: { traffic: { up: both, down: both } },
  fedadagrad: { options: { rate: 1e-3 }, traffic: { up: both, down: both } },
  fedadam: { options: { rate: 1e-3 }, traffic: { up: both, down: both } },
  fedyogi: { options: { rate: 1e-3 }, traffic: { up: both, down: both } },
  // What stays frozen, or where the client's own part starts, goes down once.
  'ffa-lora': { traffic: { up: every(({ r, m }) => r * m), down: ({ r, m, n }) => rounds * r * m + r * n } },
  'fedsa-lora': { traffic: { up: every(({ r, n }) => r * n), down: ({ r, m, n }) => rounds * r * n + r * m } },
  'fed-alora': { traffic: { up: every(({ r, m }) => r * m), down: ({ r, m, n }) => rounds * r * m + r * n } },
  // B in the first round, A in the second; both go down.
  rolora: { traffic: { up: ({ r, m, n }) => r * m + r * n, down: both } },
  fedper: {
    options: { local: ['lora_B'] },
    traffic: { up: every(({ r, n }) => r * n), down: ({ r, m, n }) => rounds * r * n + r * m },
  },
  // The last round's residual or stack is not sent: nobody trains on it.
  'fedex-lora': {
    traffic: { up: both, down: (s) => both(s) + (rounds - 1) * (clientCount - 1) * s.r * (s.m + s.n) },
  },
  // The fresh start once, then each round's stack.
  flora: { traffic: { up: both, down: ({ r, m, n }) => r * (m + n) + (rounds - 1) * clientCount * r * (m + n) } },
  flexlora: { traffic: { up: both, down: both } },
  hetlora: { traffic: { up: both, down: both } },
  'lora-fair': { traffic: { up: both, down: both } },
  'flora-na': { traffic: { up: both, down: both } },
  // The gradient of the base once, and the frame once; then r × r numbers each way.
  'fed-sb': {
    traffic: { up: ({ r, m, n }) => m * n + rounds * r * r, down: ({ r, m, n }) => r * (m + n) + rounds * r * r },
  },
  ditto: { traffic: { up: both, down: both } },
  feddpa: { traffic: { up: both, down: both } },
  // Where all begin once; and one number each way, how many have taken part.
  fedalt: { traffic: { up: both, down: (s) => both(s) + s.r * (s.m + s.n) }, beside: rounds },
  'local-only': { traffic: { up: none, down: ({ r, m, n }) => r * (m + n) } },
  centralised: { traffic: { up: none, down: none } },
};

it('tries every shipped method', () => {
  expect(Object.keys(tried).sort()).toEqual(methods.map(({ name }) => name).sort());
});

describe.each(methods)('$name on a real Llama', (method) => {
  it('trains, the same bits each time, with the traffic of its closed form', async () => {
    const { options = {}, traffic, beside = 0 } = tried[method.name]!;
    const result = await run(method.stages(options, context()));
    const again = await run(method.stages(options, context()));

    const totals = new Map<string, { up: number; down: number }>();
    for (const stage of result.stages) {
      expect(stage.leftOut).toEqual([]);
      expect(stage.tokens).toBeGreaterThan(0);
      for (const { trainLoss } of stage.rounds) expect(trainLoss).toBeGreaterThan(0);
      for (const [client, { up, down }] of stage.traffic) {
        const total = totals.get(client) ?? { up: 0, down: 0 };
        totals.set(client, { up: total.up + up, down: total.down + down });
      }
    }
    const numbers = (of: (sizes: Sizes) => number): number =>
      llama.layout.modules.reduce((sum, { rank: r, outFeatures: m, inFeatures: n }) => sum + of({ r, m, n }), 0);
    const bytes = { up: 4 * (numbers(traffic.up) + beside), down: 4 * (numbers(traffic.down) + beside) };
    for (const [, total] of totals) expect(total).toEqual(bytes);

    // What was learnt lies in the global model, in the personal ones, or in both; and a second run gives the same bits.
    const models = (of: MethodResult) => {
      const last = of.stages.at(-1)!.models;
      return [last.global, ...llama.clients.map(({ id }) => last.personal(id) ?? last.global)].map(stack);
    };
    const learnt = models(result);
    expect(learnt.some((model) => byteSize(model) > 0 && !sameBits(model, llama.initial.factors))).toBe(true);
    for (const [i, model] of models(again).entries()) expect(sameBits(model, learnt[i]!)).toBe(true);
  });
});

describe.each(['flexlora', 'hetlora'])('%s with clients of different ranks', (name) => {
  it('trains and sends each at its own', async () => {
    const method = methods.find((each) => each.name === name)!;
    const ranks: Record<string, number> = { a: 1, b: 3 };
    const { stages } = await run(method.stages({ ranks }, context()));
    expect(stages[0]!.leftOut).toEqual([]);
    for (const [client, traffic] of stages[0]!.traffic) {
      const rank = ranks[client] ?? 4;
      const numbers = llama.layout.modules.reduce(
        (sum, { inFeatures, outFeatures }) => sum + rank * (inFeatures + outFeatures),
        0,
      );
      expect(traffic).toEqual({ up: 4 * rounds * numbers, down: 4 * rounds * numbers });
      expect(stages[0]!.models.personal(client)?.[0]!.adapter.layout.modules[0]!.rank ?? 4).toBe(rank);
    }
  });
});

describe('flora with clients of different ranks', () => {
  it('takes each at its own rank and sends everybody the stack of all: up r_k(m+n), down (m+n)·Σr_j', async () => {
    const method = methods.find(({ name }) => name === 'flora')!;
    const ranks: Record<string, number> = { a: 1, b: 3 };
    const { stages } = await run(method.stages({ ranks }, context()));
    expect(stages[0]!.leftOut).toEqual([]);
    const perRank = llama.layout.modules.reduce(
      (sum, { inFeatures, outFeatures }) => sum + inFeatures + outFeatures,
      0,
    );
    const largest = llama.layout.modules[0]!.rank;
    const rankOf = (client: string): number => ranks[client] ?? largest;
    const stack = llama.clients.reduce((sum, { id }) => sum + rankOf(id), 0);
    expect([largest, stack]).toEqual([4, 8]);
    expect(stages[0]!.traffic.size).toBe(clientCount);
    // The fresh start goes down once, at the largest rank; the last round's stack is not sent.
    for (const [client, { up, down }] of stages[0]!.traffic) {
      expect(up).toBe(4 * rounds * rankOf(client) * perRank);
      expect(down).toBe(4 * (largest + (rounds - 1) * stack) * perRank);
    }
  });
});

describe('centralised', () => {
  it('is one client’s training on everybody’s rows, with the steps of all clients', async () => {
    const method = methods.find(({ name }) => name === 'centralised')!;
    const pooled = await run(method.stages({}, context()));
    const all = { ...llama.clients[0]!, id: 'pooled', train: llama.clients.flatMap(({ train }) => train) };
    const train = { ...context().train, length: { steps: 2 * clientCount } };
    const one = averageFactors({
      name: 'pooled',
      rounds,
      layout: llama.layout,
      parametrisation: factors(),
      train,
      weights: 'uniform',
      optimizerState: 'keep',
    });
    const alone = await run([one], { clients: [all] });
    expect(sameBits(stack(pooled.stages[0]!.models.global), stack(alone.stages[0]!.models.global))).toBe(true);
    expect(pooled.stages[0]!.rounds.map(({ participants }) => participants)).toEqual([['pooled'], ['pooled']]);
  });

  it('refuses a client of its own name', async () => {
    const method = methods.find(({ name }) => name === 'centralised')!;
    const named = [{ ...llama.clients[0]!, id: 'pooled' }];
    await expect(run(method.stages({}, context()), { clients: named })).rejects.toThrow('a client is named “pooled”');
  });
});
