import type { ClientUpdate, Combined } from '../methods/stage.ts';
import type { Tensor, Tensors } from '../tensor/tensor.ts';
import { allFinite, byteSize, shapeDifference, shapesOf, sizeOf, type Shapes } from '../tensor/tensors.ts';
import { accumulate, accumulate4 } from '../tensor/weighted.ts';
import type { TaskTotals } from './secure/vector.ts';

/** What was used, and who was left out after all because its update does not fit the others'. */
export interface CombinedRound {
  readonly combined: Combined;
  readonly clients: readonly string[];
  readonly misfits: readonly { readonly client: string; readonly reason: string }[];
  /** What the tasks of those used cost together, where nobody tells it of single ones. */
  readonly totals?: TaskTotals;
}

/** Takes updates in sorted order of clients and gives what `apply` sees. */
export interface Combiner {
  add(update: ClientUpdate): void;
  /** Undefined where nothing was added. */
  finish(): CombinedRound | undefined;
}

/**
 * What is wrong with an update, in words, or undefined: NaN or infinity, a weight that is no positive number, or a tensor
 * whose shape is not that of the broadcast tensor of its name (updates are relative to what was broadcast).
 */
export function updateProblem({ update, weight }: Omit<ClientUpdate, 'client'>, broadcast: Shapes): string | undefined {
  if (!(weight > 0 && weight < Infinity)) return `its update has weight ${weight}, which is not a positive number`;
  for (const [name, { shape, data }] of update) {
    if (sizeOf(shape) !== data.length)
      return `tensor “${name}” of its update holds ${data.length} numbers, which is not shape [${shape.join(', ')}]`;
  }
  const unlike = shapeProblem(update, broadcast);
  if (unlike !== undefined) return unlike;
  const bad = allFinite(update);
  return bad === undefined ? undefined : `tensor “${bad}” of its update holds NaN or infinity`;
}

/** The tensor whose shape is not that of the broadcast tensor of its name, in words. */
export function shapeProblem(update: Shapes, broadcast: Shapes): string | undefined {
  for (const [name, { shape }] of update) {
    const sent = broadcast.get(name);
    if (sent && (sent.shape.length !== shape.length || sent.shape.some((n, i) => n !== shape[i])))
      return `tensor “${name}” of its update has shape [${shape.join(', ')}], and the one it was sent [${sent.shape.join(', ')}]`;
  }
  return undefined;
}

/** Keeps every update, in order. */
export function each(): Combiner {
  const updates: ClientUpdate[] = [];
  return {
    add: (update) => void updates.push(update),
    finish: () =>
      updates.length === 0
        ? undefined
        : { combined: { kind: 'each', updates }, clients: updates.map(({ client }) => client), misfits: [] },
  };
}

/**
 * Keeps the updates of one set of names and shapes, in order: that of most clients (the first of equals); the others are misfits.
 * What a robust rule combines.
 */
export function alike(): Combiner {
  const groups: ClientUpdate[][] = [];
  return {
    add(update) {
      const group = groups.find(([first]) => shapeDifference(first!.update, update.update) === undefined);
      if (group === undefined) groups.push([update]);
      else group.push(update);
    },
    finish() {
      const used = groups.reduce<ClientUpdate[]>((a, b) => (a.length >= b.length ? a : b), []);
      if (used.length === 0) return undefined;
      const like = { like: used[0]!.update, clients: used };
      const misfits = groups
        .filter((group) => group !== used)
        .flatMap((group) => group.map(({ client, update }) => ({ client, reason: misfit(like, update) })));
      return { combined: { kind: 'each', updates: used }, clients: used.map(({ client }) => client), misfits };
    },
  };
}

interface Group {
  readonly like: Shapes;
  readonly sums: Map<string, Float64Array>;
  readonly clients: string[];
  weight: number;
  /** Updates that the sums do not hold yet: four small ones are added in one pass over them. */
  pending: ClientUpdate[];
}

/**
 * Σ weight·update in float64, added in the order of the calls and rounded once: bits equal `weightedSum` of the same parts.
 * Holds one sum and at most three updates, none above 64 MB. Where updates differ in names or shapes, those of most clients count (the first of equals)
 * and the others are misfits.
 */
export function sum(): Combiner {
  const groups: Group[] = [];
  return {
    add(given) {
      const { client, update, weight } = given;
      const group = groups.find(({ like }) => shapeDifference(like, update) === undefined);
      if (group === undefined) groups.push(startGroup(client, update, weight));
      else addTo(group, given);
    },
    finish() {
      const used = groups.reduce<Group | undefined>(
        (a, b) => (a && a.clients.length >= b.clients.length ? a : b),
        undefined,
      );
      if (used === undefined) return undefined;
      addPending(used);
      const misfits = groups
        .filter((group) => group !== used)
        .flatMap(({ like, clients }) => clients.map((client) => ({ client, reason: misfit(used, like) })));
      const { weight, clients } = used;
      return { combined: { kind: 'sum', sum: rounded(used), weight, clients: clients.length }, clients, misfits };
    },
  };
}

const misfit = (used: { readonly like: Shapes; readonly clients: readonly unknown[] }, like: Shapes): string =>
  `its update does not fit that of ${used.clients.length} other client(s) (the first): ${shapeDifference(used.like, like)}`;

function startGroup(client: string, update: Tensors, weight: number): Group {
  const sums = new Map<string, Float64Array>();
  for (const [name, { data }] of update) sums.set(name, scaled(data, weight));
  return { like: shapesOf(update), sums, clients: [client], weight, pending: [] };
}

function scaled(data: Float32Array, weight: number): Float64Array {
  const out = new Float64Array(data.length);
  for (let i = 0; i < out.length; i++) out[i] = weight * data[i]!;
  return out;
}

function addTo(group: Group, update: ClientUpdate): void {
  group.pending.push(update);
  group.clients.push(update.client);
  group.weight += update.weight;
  if (group.pending.length === 4 || byteSize(update.update) > LARGE) addPending(group);
}

/** Bytes above which an update is added at once: its memory costs more than the passes saved. */
const LARGE = 64 * 2 ** 20;

function addPending(group: Group): void {
  for (const [name, total] of group.sums) {
    const terms = group.pending.map(({ update, weight }) => ({ data: update.get(name)!.data, weight }));
    if (terms.length === 4) accumulate4(total, terms, 0, total.length);
    else for (const { data, weight } of terms) accumulate(total, data, 0, total.length, weight);
  }
  group.pending = [];
}

function rounded({ like, sums }: Group): Tensors {
  const out = new Map<string, Tensor>();
  for (const [name, { shape }] of like) {
    out.set(name, { shape, data: new Float32Array(sums.get(name)!) });
    // Used once: its memory goes as the result comes.
    sums.delete(name);
  }
  return out;
}

/** The combiner a stage asks for; none where nothing is sent. */
export function combinerOf(kind: 'sum' | 'each' | 'none'): Combiner | undefined {
  switch (kind) {
    case 'sum':
      return sum();
    case 'each':
      return each();
    case 'none':
      return undefined;
  }
}
