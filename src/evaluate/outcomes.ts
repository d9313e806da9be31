import type { Score } from '../report/summary.ts';

/** Clients' scores of one model each. */
export type ClientScores = Readonly<Record<string, Score>>;

/** What a mean hides: how the clients that fare worst fare, how far clients lie apart, and who would have been better off without. */
export interface Outcome {
  /** Clients with a score. */
  readonly clients: number;
  /** Mean loss of the worst tenth of clients, at least one; nats per labelled token. */
  readonly worst: number;
  /** Variance of the clients' losses: these are all clients, so it is divided by their number (Li et al., q-FFL, ICLR 2020). */
  readonly variance: number;
  /** Clients whose loss is above the base model's on the same rows, sorted. */
  readonly worseThanBase: readonly string[];
  /** Clients whose loss is above that of training alone, sorted; undefined where that was not measured. */
  readonly worseThanLocal?: readonly string[];
}

/** The mean of the highest `share` of losses, rounded up to whole clients. */
export function worstShare(losses: readonly number[], share = 0.1): number {
  if (losses.length === 0) throw new Error('There is no client to be the worst.');
  const worst = losses.toSorted((a, b) => b - a).slice(0, Math.max(1, Math.ceil(share * losses.length - 1e-9)));
  return worst.reduce((sum, loss) => sum + loss, 0) / worst.length;
}

/** Clients whose loss is above their reference's, sorted; clients without a reference are not counted. */
export const worseOff = (scores: ClientScores, reference: ClientScores): string[] =>
  Object.keys(scores)
    .filter((id) => Object.hasOwn(reference, id) && scores[id]!.loss > reference[id]!.loss)
    .toSorted();

/** What clients get from a model: `scores` beside the base model's on the same rows, and beside local-only training's where there is any. */
export function outcomeOf(scores: ClientScores, base: ClientScores, local?: ClientScores): Outcome {
  const losses = Object.values(scores).map(({ loss }) => loss);
  const mean = losses.reduce((sum, loss) => sum + loss, 0) / losses.length;
  return {
    clients: losses.length,
    worst: worstShare(losses),
    variance: losses.reduce((sum, loss) => sum + (loss - mean) ** 2, 0) / losses.length,
    worseThanBase: worseOff(scores, base),
    ...(local && { worseThanLocal: worseOff(scores, local) }),
  };
}
