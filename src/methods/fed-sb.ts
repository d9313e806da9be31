import { z } from 'zod';
import { UserError } from '../errors.ts';
import { keyOfA, keyOfB, type Adapter, type LoraLayout } from '../lora/adapter.ts';
import { core, keyOfCore } from '../lora/core.ts';
import { onlyB } from '../lora/factors.ts';
import { layoutAtRank } from '../lora/ranks.ts';
import { columnsOf, fromColumns, fromRows } from '../tensor/linalg.ts';
import { identity } from '../tensor/matrices.ts';
import { leadingSvd } from '../tensor/subspace.ts';
import type { Tensor, Tensors } from '../tensor/tensor.ts';
import { add, getTensor, scale, subtract, zeros } from '../tensor/tensors.ts';
import { training, type TrainSettings } from '../train/settings.ts';
import { meanUpdate } from './average-factors.ts';
import { averaging } from './capabilities.ts';
import { defineMethod } from './method.ts';
import { ownRounds } from './options.ts';
import type { Stage } from './stage.ts';
import { weighting, weightOf, type Weighting } from './weights.ts';

/** Fed-SB (Singhal et al. 2025, arXiv 2502.15436): W = W0 + s·B·R·A with A and B fixed; only the r × r core R is trained and sent. */
export const fedSb = defineMethod({
  name: 'fed-sb',
  summary:
    'A and B are fixed once, from the singular vectors of a gradient; only the r × r core between them is trained and averaged',
  source:
    'arXiv 2502.15436, known here by others’ code, whose mean of R is uniform. There R begins at the singular values; here at 0, so that training begins ' +
    'at the base model. The gradient is of each client’s rows, sent once in full and averaged, or of proxy rows at the server.',
  capabilities: {
    ...averaging,
    trains: 'the base’s gradient; R',
    uploads: 'the base’s gradient; R',
    serverWeight: 'uniform',
    onReceipt: 'keeps the given frame; overwrites R',
    exact: 'yes',
  },
  options: z.strictObject({
    rounds: ownRounds,
    weights: weighting.default('uniform'),
    gradient: z
      .enum(['clients', 'proxy'])
      .default('clients')
      .describe('whose rows the first gradient is of: it is as large as the weights, once; `proxy` sends nothing'),
    rows: z
      .union([z.literal('all'), z.int().positive()])
      .default(16)
      .describe('training rows per client for that gradient, or all'),
  }),
  stages: (options, { layout, rounds, train }) => [
    frame(layout, options.gradient, options.rows, train.batchSize, options.weights),
    cores(layout, options.rounds ?? rounds, train, options.weights),
  ],
});

/** The run's start, and once it is known the frame: A = V_rᵀ, B = U_r. */
export type Framed = { readonly start: Tensors; readonly frame: Tensors | null };

function frame(
  layout: LoraLayout,
  from: 'clients' | 'proxy',
  rows: number | 'all',
  batchSize: number,
  weights: Weighting,
): Stage<Framed> {
  const gradientOf = (module: string): string => `${module}.gradient`;
  return {
    name: 'frame',
    rounds: 1,
    participants: from === 'proxy' ? 'proxy' : 'sampled',
    combine: 'sum',
    start: ({ adapter }) => ({ start: requireZero(adapter).factors, frame: null }),
    broadcast: () => new Map(),
    async *work(_, __, kit) {
      const whole = wholeBase(layout);
      const { gradients } = yield* kit.gradient({
        from: whole,
        parametrisation: onlyB(),
        params: onlyB().at(whole).init,
        rows,
        batchSize,
      });
      const update = layout.modules.map(({ name }) => [gradientOf(name), getTensor(gradients, keyOfB(name))] as const);
      return { update: new Map(update), weight: weightOf(weights, kit), mine: null };
    },
    apply({ start }, combined) {
      const mean = meanUpdate(combined);
      const found = new Map<string, Tensor>();
      for (const { name, rank, inFeatures, outFeatures } of layout.modules) {
        const { u, v } = leadingSvd(columnsOf(getTensor(mean, gradientOf(name))), rank);
        const filled = (vectors: typeof u, size: number) =>
          Array.from({ length: rank }, (_, i) => vectors[i] ?? new Float64Array(size));
        found.set(keyOfA(name), fromRows(filled(v, inFeatures), inFeatures));
        found.set(keyOfB(name), fromColumns(filled(u, outFeatures), outFeatures));
      }
      return { start, frame: found };
    },
    models: ({ start }) => [{ adapter: { layout, factors: start }, weight: 1 }],
  };
}

/** A = I and B = 0 at full rank: the gradient of such a B is the scale times that of the weights. */
function wholeBase(layout: LoraLayout): Adapter {
  const modules = layout.modules.map((module) => ({ ...module, rank: module.inFeatures }));
  const factors = modules.flatMap(({ name, inFeatures, outFeatures }) => [
    [keyOfA(name), identity(inFeatures)] as const,
    [keyOfB(name), zeros([outFeatures, inFeatures])] as const,
  ]);
  return { layout: layoutAtRank({ ...layout, modules }, Infinity), factors: new Map(factors) };
}

function requireZero(adapter: Adapter): Adapter {
  const moved = adapter.layout.modules.some(({ name }) =>
    getTensor(adapter.factors, keyOfB(name)).data.some((x) => x !== 0),
  );
  if (moved)
    throw new UserError(
      'fed-sb makes its own A and B from the base model: it cannot go on from an adapter that has learnt',
    );
  return adapter;
}

type Cored = { readonly frame: Tensors; readonly cores: Tensors };

function cores(layout: LoraLayout, rounds: number, train: TrainSettings, weights: Weighting): Stage<Cored> {
  const parametrisation = core();
  return {
    name: 'federated',
    rounds,
    participants: 'sampled',
    combine: 'sum',
    start({ adapter, previous }) {
      // A plan made before anything is done asks for shapes, and the frame has the adapter's.
      const frame = previous === undefined ? adapter.factors : (previous as Framed).frame;
      if (frame === null) throw new Error('the stage before gave no frame');
      return { frame, cores: scale(parametrisation.at({ layout, factors: frame }).init, 0) };
    },
    frozen: ({ frame }) => frame,
    broadcast: ({ cores: at }) => at,
    async *work(received, _, kit) {
      const keys = new Set(layout.modules.map(({ name }) => keyOfCore(name)));
      const params = new Map([...received].filter(([key]) => keys.has(key)));
      const factors = new Map([...received].filter(([key]) => !keys.has(key)));
      const trained = yield* kit.train({
        from: { layout, factors },
        parametrisation,
        params,
        ...training(train, kit),
      });
      return { update: subtract(trained.params, params), weight: weightOf(weights, kit), mine: null };
    },
    apply: ({ frame, cores: at }, combined) => ({ frame, cores: add(at, meanUpdate(combined)) }),
    models: ({ frame, cores: at }) => [
      { adapter: { layout, factors: parametrisation.at({ layout, factors: frame }).toFactors(at) }, weight: 1 },
    ],
  };
}
