import { z } from 'zod';
import { keyOfA, keyOfB, type LoraLayout, type LoraModule } from '../lora/adapter.ts';
import { factors as allFactors } from '../lora/factors.ts';
import { factorsAtRank, layoutAtRank } from '../lora/ranks.ts';
import { columnsOf, inner, rowsOf } from '../tensor/linalg.ts';
import { gram } from '../tensor/pairwise.ts';
import { floorOfShare } from '../tensor/share.ts';
import type { Tensor, Tensors } from '../tensor/tensor.ts';
import { add, getTensor, mapTensors, subtract } from '../tensor/tensors.ts';
import { trainFactors } from './average-factors.ts';
import {
  combineFactors,
  perModule,
  piecesOf,
  ranksOption,
  weightedPieces,
  type CombinedTraining,
  type CombineRule,
} from './combine-factors.ts';
import { averaging } from './capabilities.ts';
import { defineMethod } from './method.ts';
import { federatedRounds, ownRounds } from './options.ts';
import type { Piece } from './increments.ts';
import type { Stage } from './stage.ts';

/** HetLoRA (Cho et al. 2024, arXiv 2401.06432): ranks of their own, zero-padded, weighted by ‖B_k·A_k‖, with self-pruning. */
export const hetlora = defineMethod({
  name: 'hetlora',
  summary:
    'clients of different ranks: zero-padding, averages of A and B weighted by ‖B·A‖, and ranks that prune themselves',
  source:
    'arXiv 2401.06432, known here second-hand; γ = 0.99 and λ = 1e-3 are those of FlexLoRA’s baseline. Here the norm is that of all modules ' +
    'together, clients of all ranks have the same scale, and a pruned client pads its update itself, so that its traffic stays that of its first rank.',
  capabilities: {
    ...averaging,
    serverWeight: 'norm of B·A',
    mixedRanks: true,
    secureAggregation: false,
  },
  options: z.strictObject({
    rounds: ownRounds,
    ranks: ranksOption,
    gamma: z
      .number()
      .gt(0)
      .max(1)
      .default(0.99)
      .describe('γ: the tail begins after the first ⌊γ·rank⌋ rows of A and columns of B; 1 for no tail'),
    lambda: z.number().min(0).default(1e-3).describe('weight λ of the penalty ‖tail of A‖·‖tail of B‖ of each module'),
    prune: z.boolean().default(true).describe('whether a client whose tail has shrunk in training drops it'),
  }),
  stages: (options, context) => [
    pruning({ ...federatedRounds(options, context), weights: 'uniform', rule: normWeighted(context.layout) }),
  ],
});

/** Padded factors averaged by ‖B_k·A_k‖ over all modules; by equal weights where nobody has moved from 0. */
const normWeighted =
  (layout: LoraLayout): CombineRule =>
  (clients, before) => {
    const norms = clients.map(({ of }) => normOf(layout, of));
    const total = norms.reduce((sum, norm) => sum + norm, 0);
    const weights = norms.map((norm) => (total > 0 ? norm / total : 1 / clients.length));
    const mean = perModule(layout, (parts, module) =>
      weightedPieces(
        parts.map((part) => padded(part, module)),
        weights,
      ),
    );
    return mean(clients, before);
  };

const padded = (piece: Piece, module: LoraModule): Piece =>
  piecesOf(factorsAtRank({ modules: [module], rslora: false }, asFactors(piece, module.name)))(module.name);

const asFactors = ({ a, b }: Piece, module: string): Tensors =>
  new Map([
    [keyOfA(module), a],
    [keyOfB(module), b],
  ]);

/** √Σ ‖scale·B·A‖² over the modules, as Σ (BᵀB)∘(AAᵀ): the product is never formed. */
export function normOf({ modules }: LoraLayout, of: (module: string) => Piece): number {
  let total = 0;
  for (const { name, scale } of modules) {
    const { a, b } = of(name);
    const [ofA, ofB] = [gram(rowsOf(a)), gram(columnsOf(b))];
    total += scale * scale * inner(ofA, ofB);
  }
  return Math.sqrt(Math.max(0, total));
}

/** What a client remembers: who it is, for its rank, and to which rank it has pruned itself. */
type Pruned = { readonly client: string; readonly kept: number };

interface Pruning extends CombinedTraining {
  readonly gamma: number;
  readonly lambda: number;
  readonly prune: boolean;
}

function pruning(options: Pruning): Stage {
  const { layout, ranks = {}, gamma, lambda, prune } = options;
  const largest = Math.max(...layout.modules.map(({ rank }) => rank));
  const rankOf = (client: string): number => (Object.hasOwn(ranks, client) ? ranks[client]! : largest);
  const stage = combineFactors(options);
  return {
    ...stage,
    async *work(received, mine, kit) {
      const before = mine as Pruned | undefined;
      const kept = before?.kept ?? rankOf(kit.client);
      const own = layoutAtRank(layout, kept);
      const start = factorsAtRank(own, received);
      const from = floorOfShare(gamma, kept);
      const training = { ...options, layout: own, parametrisation: allFactors(), optimizerState: 'reset' } as const;
      const penalised = lambda > 0 && from < kept && { correct: () => addTailPenalty(own, from, lambda) };
      const { update, weight } = yield* trainFactors({ ...training, ...penalised }, start, {}, kit);
      const trained = add(start, update);
      const shrunk = from < kept && tailProduct(own, trained, from) < tailProduct(own, start, from);
      const rank = prune && shrunk ? Math.max(1, from) : kept;
      const padded = factorsAtRank(
        layoutAtRank(layout, rankOf(kit.client)),
        factorsAtRank(layoutAtRank(layout, rank), trained),
      );
      return { update: subtract(padded, received), weight, mine: { client: kit.client, kept: rank } };
    },
    models(factors, mine) {
      const own = mine === undefined ? layout : layoutAtRank(layout, (mine as Pruned).kept);
      return [{ adapter: { layout: own, factors: factorsAtRank(own, factors) }, weight: 1 }];
    },
  } satisfies Stage<Tensors, Pruned>;
}

/** Norms of the rows of A and the columns of B from `from` on. */
function tails(a: Tensor, b: Tensor, from: number): readonly [number, number] {
  const norm = (vectors: readonly Float64Array[]): number =>
    Math.sqrt(vectors.slice(from).reduce((sum, vector) => sum + inner(vector, vector), 0));
  return [norm(rowsOf(a)), norm(columnsOf(b))];
}

const tailProduct = ({ modules }: LoraLayout, factors: Tensors, from: number): number =>
  modules.reduce((sum, { name }) => {
    const [a, b] = tails(getTensor(factors, keyOfA(name)), getTensor(factors, keyOfB(name)), from);
    return sum + a * b;
  }, 0);

/** Adds the gradient of λ·Σ ‖tail of A‖·‖tail of B‖ (the published baseline takes it on detached data, where it is zero). */
export const addTailPenalty =
  ({ modules }: LoraLayout, from: number, lambda: number) =>
  (gradients: Tensors, params: Tensors): Tensors => {
    const factorOf = new Map<string, number>();
    for (const { name } of modules) {
      const [a, b] = tails(getTensor(params, keyOfA(name)), getTensor(params, keyOfB(name)), from);
      factorOf.set(keyOfA(name), a > 0 ? (lambda * b) / a : 0);
      factorOf.set(keyOfB(name), b > 0 ? (lambda * a) / b : 0);
    }
    const isB = new Set(modules.map(({ name }) => keyOfB(name)));
    return mapTensors(gradients, ({ shape, data }, key) => {
      const [param, factor, columns] = [params.get(key)!.data, factorOf.get(key)!, shape[1]!];
      const inTail = (i: number): boolean => (isB.has(key) ? i % columns : Math.floor(i / columns)) >= from;
      return { shape, data: data.map((g, i) => (inTail(i) ? g + factor * param[i]! : g)) };
    });
  };
