import { UserError } from '../errors.ts';
import { stream, type Random } from '../tensor/random.ts';

export interface DirichletSettings {
  readonly alpha: number;
  readonly clients: number;
  /** Fewest rows per client. */
  readonly minimum: number;
  /** Draws before giving up. */
  readonly retries: number;
}

/**
 * Each class is spread over the clients by shares drawn from Dir(α·1_K), cut where the cumulated shares fall (see `cut`);
 * drawn again until every client has `minimum` rows (Flower, FederatedScope, Shepherd; ALGORITHMS.md §7). A share has mean 1/K and
 * variance (1/K)(1 − 1/K)/(Kα + 1). `balance`: clients that already hold rows/K get nothing of the next class (Shepherd).
 * @returns per client, the members of `classes` it holds.
 */
export function classOverClients<T>(
  classes: readonly (readonly T[])[],
  settings: DirichletSettings & { readonly balance: boolean },
  seed: number,
): T[][] {
  const { alpha, clients, balance } = settings;
  const rows = classes.reduce((sum, members) => sum + members.length, 0);
  return untilLargeEnough(settings, 'class-over-clients', seed, (random) => {
    const shares = Array.from({ length: clients }, (): T[] => []);
    for (const members of classes) {
      const drawn = random.dirichlet(Array.from({ length: clients }, () => alpha));
      const open = drawn.map((share, k) => (balance && shares[k]!.length >= rows / clients ? 0 : share));
      // The open clients' shares may all be too small to represent: then they share alike.
      const used = open.some((share) => share > 0) ? open : shares.map((own) => (own.length < rows / clients ? 1 : 0));
      cut(random.shuffle(members), used, random.uniform()).forEach((part, k) => shares[k]!.push(...part));
    }
    return shares;
  });
}

/**
 * Each client draws its own mix of classes from Dir(α·p), p the classes' shares of all rows, and fills an equal number of
 * rows from it; a class that runs out leaves the mix (Hsu et al. 2019, from memory; ALGORITHMS.md §7).
 * Sizes differ by at most one row. @returns per client, the members of `classes` it holds.
 */
export function mixPerClient<T>(classes: readonly (readonly T[])[], settings: DirichletSettings, seed: number): T[][] {
  const { alpha, clients } = settings;
  const rows = classes.reduce((sum, members) => sum + members.length, 0);
  return untilLargeEnough(settings, 'mix-per-client', seed, (random) => {
    const left = classes.map((members) => random.shuffle(members));
    return Array.from({ length: clients }, (_, k) => {
      const size = Math.floor(rows / clients) + (k < rows % clients ? 1 : 0);
      const mix = random.dirichlet(classes.map((members) => (alpha * members.length) / rows));
      return Array.from({ length: size }, () => {
        const weights = mix.map((weight, c) => (left[c]!.length > 0 ? weight : 0));
        return left[drawn(weights, left, random)]!.pop()!;
      });
    });
  });
}

/** An index by weight; where all weight has run out, by what is left. */
function drawn(weights: readonly number[], left: readonly (readonly unknown[])[], random: Random): number {
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  const used = total > 0 ? weights : left.map((members) => members.length);
  let at = random.uniform() * used.reduce((sum, weight) => sum + weight, 0);
  let last = 0;
  for (let c = 0; c < used.length; c++) {
    if (used[c]! <= 0) continue;
    last = c;
    at -= used[c]!;
    if (at < 0) return c;
  }
  return last;
}

/**
 * Consecutive parts in proportion to the weights. All cuts are shifted by the same `offset` in [0, 1): over uniform offsets a
 * part's expected size is its share exactly, where plain rounding down would give every class of one row to the last client.
 */
function cut<T>(rows: readonly T[], weights: readonly number[], offset: number): T[][] {
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  const last = weights.findLastIndex((weight) => weight > 0);
  let cumulated = 0;
  let from = 0;
  return weights.map((weight, k) => {
    cumulated += weight / total;
    const to = k >= last ? rows.length : Math.min(rows.length, Math.floor(cumulated * rows.length + offset));
    const part = rows.slice(from, to);
    from = Math.max(from, to);
    return part;
  });
}

function untilLargeEnough<T>(
  { alpha, clients, minimum, retries }: DirichletSettings,
  convention: string,
  seed: number,
  draw: (random: Random) => T[][],
): T[][] {
  const random = stream(seed, 'data', 'dirichlet', convention);
  let best = -1;
  for (let attempt = 0; attempt < Math.max(1, retries); attempt++) {
    const shares = draw(random);
    const smallest = shares.reduce((least, share) => Math.min(least, share.length), Infinity);
    if (smallest >= minimum) return shares;
    best = Math.max(best, smallest);
  }
  throw new UserError(
    `clients: ${Math.max(1, retries)} Dirichlet draws (alpha ${alpha}, ${clients} clients) left a client below clients.minimum ${minimum}; the best draw's smallest client had ${best} rows. Raise alpha or retries, or lower count or minimum`,
  );
}
