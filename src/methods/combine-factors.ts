import { z } from 'zod';
import { UserError } from '../errors.ts';
import { keyOfA, keyOfB, type LoraLayout, type LoraModule } from '../lora/adapter.ts';
import { factors as allFactors } from '../lora/factors.ts';
import { factorsAtRank, layoutAtRank } from '../lora/ranks.ts';
import type { Tensor, Tensors } from '../tensor/tensor.ts';
import { add, getTensor } from '../tensor/tensors.ts';
import { weightedSum } from '../tensor/weighted.ts';
import { trainFactors, type AveragedTraining } from './average-factors.ts';
import type { Piece } from './increments.ts';
import type { Combined, Stage } from './stage.ts';

/** Where a client's training ended, at its own rank, and its share p_k of the weights of the round. */
export interface ClientFactors {
  /** A module's factors, made when they are asked for: those of all modules and clients would be the updates once more. */
  readonly of: (module: string) => Piece;
  readonly share: number;
}

/** The same of factors that are there. */
export const piecesOf =
  (factors: Tensors): ClientFactors['of'] =>
  (module) => ({ a: getTensor(factors, keyOfA(module)), b: getTensor(factors, keyOfB(module)) });

/** How the server makes new factors, at the layout's ranks, of every client's. */
export type CombineRule = (clients: readonly ClientFactors[], before: Tensors) => Tensors;

export interface CombinedTraining extends Omit<AveragedTraining, 'parametrisation' | 'optimizerState'> {
  readonly rule: CombineRule;
  /** Ranks of single clients; the others have the layout's. */
  readonly ranks?: Ranks;
}

export type Ranks = Readonly<Record<string, number>>;
export const ranksOption = z
  .record(z.string(), z.int().positive())
  .default({})
  .describe('ranks of single clients by name; the others have `lora.rank`, the largest. All have the same scale');

/** Rounds in which the server sees every client's own A and B, and sends each the new ones at its rank. */
export function combineFactors(options: CombinedTraining): Stage<Tensors> {
  const { name, rounds, layout, rule, ranks = {} } = options;
  const { layoutOf, sentTo, requireClients } = rankedLayouts(layout, ranks);
  return {
    name,
    rounds,
    participants: 'sampled',
    combine: 'each',
    start({ adapter, clients }) {
      requireClients(clients);
      return adapter.factors;
    },
    broadcast: (factors, client) => factorsAtRank(layoutOf(client), factors),
    async *work(received, _, kit) {
      const own = layoutOf(kit.client);
      const training = { ...options, layout: own, parametrisation: allFactors(), optimizerState: 'reset' } as const;
      const { update, weight } = yield* trainFactors(training, received, {}, kit);
      // A client of another rank has a model of its own; its rank is what it has to remember.
      return { update, weight, mine: own === layout ? null : { client: kit.client } };
    },
    apply: (factors, combined) => rule(clientFactors(combined, sentTo(factors)), factors),
    models(factors, mine) {
      const own = mine === undefined ? layout : layoutOf((mine as { client: string }).client);
      return [{ adapter: { layout: own, factors: factorsAtRank(own, factors) }, weight: 1 }];
    },
  } satisfies Stage<Tensors>;
}

/** Each client's factors and share, from its update relative to what it was sent of a module. */
export function clientFactors(combined: Combined, sent: (client: string, module: string) => Tensors): ClientFactors[] {
  if (combined.kind !== 'each') throw new Error('this stage applies each client’s update');
  const total = combined.updates.reduce((sum, { weight }) => sum + weight, 0);
  return combined.updates.map(({ client, update, weight }) => ({
    of: (module) => piecesOf(add(sent(client, module), ofModule(update, module)))(module),
    share: weight / total,
  }));
}

/** The factors of one module alone. */
export const ofModule = (factors: Tensors, module: string): Tensors =>
  new Map([keyOfA(module), keyOfB(module)].map((key) => [key, getTensor(factors, key)]));

export interface ModulePart extends Piece {
  readonly share: number;
}

/** A rule that treats each module by itself. */
export const perModule =
  (layout: LoraLayout, rule: (parts: readonly ModulePart[], module: LoraModule, before: Piece) => Piece): CombineRule =>
  (clients, before) => {
    const out = new Map<string, Tensor>();
    for (const module of layout.modules) {
      const parts = clients.map(({ of, share }) => ({ ...of(module.name), share }));
      const { a, b } = rule(parts, module, piecesOf(before)(module.name));
      out.set(keyOfA(module.name), a);
      out.set(keyOfB(module.name), b);
    }
    return out;
  };

/** Σ weight·A and Σ weight·B of one module; B may have weights of its own. */
export function weightedPieces(parts: readonly Piece[], weights: readonly number[], ofB = weights): Piece {
  const sum = (one: 'a' | 'b', weights: readonly number[]): Tensor =>
    weightedSum(parts.map((part, k) => ({ tensors: new Map([[one, part[one]]]), weight: weights[k]! }))).get(one)!;
  return { a: sum('a', weights), b: sum('b', ofB) };
}

/** Ā and B̄ of one module. */
export const meanPiece = (parts: readonly ModulePart[]): Piece =>
  weightedPieces(
    parts,
    parts.map(({ share }) => share),
  );

/** Each client's layout at its own rank. Throws UserError where a rank is above the layout's. */
export function rankedLayouts(layout: LoraLayout, ranks: Ranks) {
  const largest = Math.max(...layout.modules.map(({ rank }) => rank));
  for (const [client, rank] of Object.entries(ranks)) {
    if (rank > largest) {
      throw new UserError(
        `\`ranks\`: client “${client}” has rank ${rank}; lora.rank, ${largest}, is the largest there can be`,
      );
    }
  }
  const layoutOf = (client: string): LoraLayout =>
    Object.hasOwn(ranks, client) ? layoutAtRank(layout, ranks[client]!) : layout;
  return {
    layoutOf,
    /** What a client was sent of a module. */
    sentTo: (factors: Tensors) => (client: string, module: string) => {
      const own = layoutOf(client);
      return factorsAtRank({ ...own, modules: own.modules.filter(({ name }) => name === module) }, factors);
    },
    /** Throws UserError where a rank is given to nobody. */
    requireClients: (clients: readonly string[]): void => {
      const unknown = Object.keys(ranks).find((name) => !clients.includes(name));
      if (unknown !== undefined) {
        throw new UserError(
          `\`ranks\` names “${unknown}”, which is no client; there are ${clients.slice(0, 5).join(', ')}`,
        );
      }
    },
  };
}
