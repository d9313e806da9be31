import { keyOfA, keyOfB, type Adapter, type AdapterMix, type LoraLayout } from '../lora/adapter.ts';
import { denseAdapter, isThin } from '../lora/dense.ts';
import { mergeModule } from '../lora/merge.ts';
import type { Tensor, Tensors } from '../tensor/tensor.ts';
import { getTensor, zeros } from '../tensor/tensors.ts';
import { prefixed, unprefixed } from './named.ts';

/*
 * Methods whose base model gains something each round keep what it gained as frozen factors under names of their own, so that
 * the weights stay as they are and whoever comes late is sent all of it.
 */
const prefix = (round: number): string => `gained in round ${round}`;

/** The factors that a round adds to the base, stacked in rank, under that round's names. */
export const increment = (round: number, factors: Tensors): Tensors => prefixed(prefix(round), factors);

/** What the base has gained before a round. */
export const gainedBefore = (round: number, log: Tensors): Tensors =>
  new Map([...log].filter(([name]) => roundOf(name) < round));

/** The names in `received` that are of a model, not of what the base gained. */
export const withoutGained = (received: Tensors): Tensors =>
  new Map([...received].filter(([name]) => roundOf(name) === Infinity));

const roundOf = (name: string): number => Number(/^gained in round (-?\d+):/.exec(name)?.[1] ?? Infinity);

/**
 * What the base has gained, as a mix to stand beside the adapter that is trained; the scale is the layout's. The rounds'
 * factors as they are while together they are thin; after that their product, so that a step costs no more the longer a run is.
 */
export function gained(layout: LoraLayout, log: Tensors): AdapterMix {
  const rounds = [...new Set([...log.keys()].map(roundOf))].filter(Number.isFinite).sort((a, b) => a - b);
  const adapters = rounds.map((round) => adapterOf(layout, unprefixed(prefix(round), log)));
  if (adapters.length === 0) return [];
  const mix = adapters.map((adapter) => ({ adapter, weight: 1 }));
  return isThin(stackedLayout(layout, adapters))
    ? mix
    : [{ adapter: denseAdapter(layout, productsOf(adapters)), weight: 1 }];
}

function adapterOf({ modules, rslora }: LoraLayout, factors: Tensors): Adapter {
  const at = modules.map((module) => {
    const rank = getTensor(factors, keyOfA(module.name)).shape[0]!;
    return { ...module, rank, alpha: module.scale * (rslora ? Math.sqrt(rank) : rank) };
  });
  return { layout: { modules: at, rslora }, factors };
}

const stackedLayout = (layout: LoraLayout, adapters: readonly Adapter[]): LoraLayout => ({
  ...layout,
  modules: layout.modules.map((module, m) => ({
    ...module,
    rank: adapters.reduce((sum, adapter) => sum + adapter.layout.modules[m]!.rank, 0),
  })),
});

type Products = ReadonlyMap<string, Tensor>;

// Products up to a round, by that round's own first factor: all clients of a process need the same ones, and each round
// only adds to them. Always summed round by round, so that a resumed run has the same bits.
const known = new WeakMap<Tensor, Products>();

function productsOf(adapters: readonly Adapter[]): Products {
  const last = adapters.at(-1)!;
  const key = [...last.factors.values()][0]!;
  const found = known.get(key);
  if (found !== undefined) return found;
  const before = adapters.length > 1 ? productsOf(adapters.slice(0, -1)) : undefined;
  const products = new Map(
    last.layout.modules.map(({ name, inFeatures, outFeatures }) => [
      name,
      mergeModule(last, name, before?.get(name) ?? zeros([outFeatures, inFeatures])),
    ]),
  );
  known.set(key, products);
  return products;
}

export interface Piece {
  readonly a: Tensor;
  readonly b: Tensor;
}

/** A module's pieces of one product stacked in rank: rows of A, columns of B. */
export function stacked(layout: LoraLayout, piecesOf: (module: string) => readonly Piece[]): Tensors {
  const out = new Map<string, Tensor>();
  for (const { name, inFeatures, outFeatures } of layout.modules) {
    const own = piecesOf(name);
    const rank = own.reduce((sum, { a }) => sum + a.shape[0]!, 0);
    const a = new Float32Array(rank * inFeatures);
    const b = new Float32Array(outFeatures * rank);
    let at = 0;
    for (const piece of own) {
      const width = piece.a.shape[0]!;
      a.set(piece.a.data, at * inFeatures);
      putColumns(b, rank, at, piece.b.data, width);
      at += width;
    }
    out.set(keyOfA(name), { shape: [rank, inFeatures], data: a });
    out.set(keyOfB(name), { shape: [outFeatures, rank], data: b });
  }
  return out;
}

/** Puts a matrix of `width` columns into one of `rank`, from column `at` on. */
function putColumns(into: Float32Array, rank: number, at: number, from: Float32Array, width: number): void {
  for (let i = 0, row = at; i < from.length; i += width, row += rank)
    for (let c = 0; c < width; c++) into[row + c] = from[i + c]!;
}
