import { UserError } from '../../errors.ts';
import { requireDegree } from './graph.ts';

/** What all who take part in a sum know of its size. */
export interface SecureParameters {
  /** Who are asked. */
  readonly clients: number;
  /** k: with how many a client shares masks, and shares of its secrets. */
  readonly neighbours: number;
  /** t: how many shares give a secret back. */
  readonly threshold: number;
  /** How many must have their numbers in the sum and sign who has: more than half of all and of the corrupt ones together. */
  readonly least: number;
}

/** What a federation is to withstand, as shares of its clients. */
export interface Assumptions {
  /** δ: of those that leave, at any stage. */
  readonly dropouts: number;
  /** γ: of those that tell the server all they know. */
  readonly corrupt: number;
  /**
   * Whether one of those who are asked is the server's own: it tells the server all it knows beside the corrupt ones, and does not
   * leave. Default: all are clients.
   */
  readonly server?: boolean;
  /** σ: something is learned with a chance of at most 2^−σ. Default 40. */
  readonly security?: number;
  /** η: a sum fails, though no more than δ left, with a chance of at most 2^−η. Default 30. */
  readonly correctness?: number;
}

/**
 * The least number of neighbours, and with it the largest threshold, that keep Bell et al.'s conditions (CCS 2020, section 3) for a
 * random graph of n clients, c = ⌈γn⌉ of them corrupt and d = ⌊δn⌋ of them gone, each bounded over all clients (union bound):
 * - secrecy of shares: n·P[Hypergeometric(n − 1, c, k) ≥ t] ≤ 2^−σ/2
 * - connection: C(n, 2)·∏_{i<k} (c + d − i)/(n − i) ≤ 2^−σ/2, for what is left of such a ring falls apart only where two runs of
 *   k/2 each are gone
 * - recovery: n·P[Hypergeometric(n − 1, n − 1 − d, k) < t] ≤ 2^−η
 * With the server's own among them n is one more and c is ⌈γ(n − 1)⌉ + 1, d is ⌊δ(n − 1)⌋: any sum is of as many clients as without it.
 * What cannot happen has chance 0: with k = n − 1 it suffices that c < t ≤ n − 1 − d. t is at least 2, since a share alone must not be
 * the secret. `least` is ⌊(n + c)/2⌋ + 1, so that no two different
 * sets of survivors find as many signatures (each honest client signs one).
 * Throws UserError where no graph does: too few clients, or too many bad or gone ones.
 */
export function secureParameters(clients: number, assumptions: Assumptions): SecureParameters {
  const { dropouts, corrupt, server = false, security = 40, correctness = 30 } = assumptions;
  const others = clients - (server ? 1 : 0);
  if (!Number.isSafeInteger(clients) || others < 3)
    throw new UserError(
      `secure aggregation needs at least 3 clients, not ${others}${server ? ' beside the server’s own rows' : ''}: the sum of two tells each the other’s`,
    );
  for (const share of [dropouts, corrupt])
    if (!(share >= 0 && share < 1))
      throw new UserError(`a share of the clients is at least 0 and below 1, not ${share}`);
  const bad = corruptOf(clients, assumptions);
  const gone = Math.floor(dropouts * others);
  const least = Math.floor((clients + bad) / 2) + 1;
  if (clients - gone < least)
    throw new UserError(
      `of ${clients} clients at least ${least} must stay where ${bad} may be corrupt, and ${gone} may leave: assume fewer of either`,
    );
  const logFactorial = logFactorials(clients);
  for (let k = 2; ; k = Math.min(k + 2, clients - 1)) {
    const threshold = thresholdFor(k);
    if (threshold !== undefined) return checked({ clients, neighbours: k, threshold, least });
    if (k === clients - 1)
      throw new UserError(
        `no threshold keeps ${clients} clients’ secrets and survives ${gone} that leave: assume fewer`,
      );
  }

  function thresholdFor(k: number): number | undefined {
    if (disconnection(clients, bad + gone, k) > 2 ** -(security + 1)) return undefined;
    const staying = hypergeometric(clients - 1, clients - 1 - gone, k, logFactorial);
    const colluding = hypergeometric(clients - 1, bad, k, logFactorial);
    // P[staying < t] grows with t: the largest t with which a sum still comes about.
    let threshold = 0;
    for (let below = staying(0); clients * below <= 2 ** -correctness && threshold < k; below += staying(threshold))
      threshold++;
    let learned = 0;
    for (let x = k; x >= threshold; x--) learned += colluding(x);
    return threshold >= 2 && clients * learned <= 2 ** -(security + 1) ? threshold : undefined;
  }
}

/** How many of those in a sum, however few they are, keep what they know to themselves, at least: at least 2. */
export function leastHonest(clients: number, assumptions: Assumptions): number {
  return secureParameters(clients, assumptions).least - corruptOf(clients, assumptions);
}

/** c: how many of those who are asked may tell the server all they know. */
const corruptOf = (clients: number, { corrupt, server = false }: Assumptions): number =>
  server ? Math.ceil(corrupt * (clients - 1)) + 1 : Math.ceil(corrupt * clients);

function checked(parameters: SecureParameters): SecureParameters {
  requireParameters(parameters);
  return parameters;
}

/** Throws where the numbers contradict each other. */
export function requireParameters({ clients, neighbours, threshold, least }: SecureParameters): void {
  requireDegree(clients, neighbours);
  if (!Number.isSafeInteger(threshold) || threshold < 2 || threshold > neighbours)
    throw new Error(`a threshold of ${threshold} among ${neighbours} neighbours`);
  if (!Number.isSafeInteger(least) || least * 2 <= clients || least > clients)
    throw new Error(`${least} of ${clients} clients cannot vouch for who is in the sum: it takes more than half`);
}

/** Bound on the chance that a ring of random order falls apart when `removed` of its clients are gone. */
function disconnection(clients: number, removed: number, degree: number): number {
  if (degree === clients - 1) return 0;
  let chance = (clients * (clients - 1)) / 2;
  for (let i = 0; i < degree; i++) chance *= Math.max(0, removed - i) / (clients - i);
  return chance;
}

/** P[x marked ones among `drawn` of `total`, of which `marked` are]. */
function hypergeometric(
  total: number,
  marked: number,
  drawn: number,
  logFactorial: Float64Array,
): (x: number) => number {
  const choose = (n: number, k: number): number => logFactorial[n]! - logFactorial[k]! - logFactorial[n - k]!;
  return (x) =>
    x < 0 || x > marked || x > drawn || drawn - x > total - marked
      ? 0
      : Math.exp(choose(marked, x) + choose(total - marked, drawn - x) - choose(total, drawn));
}

/** ln 0!, ln 1!, …, ln n! */
function logFactorials(n: number): Float64Array {
  const out = new Float64Array(n + 1);
  for (let i = 2; i <= n; i++) out[i] = out[i - 1]! + Math.log(i);
  return out;
}
