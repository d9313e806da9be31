import { RunFailed } from '../errors.ts';
import type { ModelScores, Score } from '../report/summary.ts';

/** What evaluation adds up. Sums of disjoint rows add, so a client can send its sums instead of its data. */
export interface Sums {
  /** Σ negative log-likelihood over labelled tokens, nats. */
  readonly nll: number;
  /** Labelled tokens. */
  readonly tokens: number;
  /** Labelled tokens whose most likely prediction is right. */
  readonly correct: number;
  readonly rows: number;
  /** Rows answered by greedy generation, and over them Σ exact match and Σ ROUGE-L F1. */
  readonly generated: number;
  readonly exact: number;
  readonly rougeL: number;
}

export const noSums: Sums = { nll: 0, tokens: 0, correct: 0, rows: 0, generated: 0, exact: 0, rougeL: 0 };

/** The sums of both sets of rows together. */
export const addSums = (a: Sums, b: Sums): Sums => ({
  nll: a.nll + b.nll,
  tokens: a.tokens + b.tokens,
  correct: a.correct + b.correct,
  rows: a.rows + b.rows,
  generated: a.generated + b.generated,
  exact: a.exact + b.exact,
  rougeL: a.rougeL + b.rougeL,
});

/** The model's loss is not finite: training went too far. */
export class Diverged extends RunFailed {
  override readonly name = 'Diverged';
}

/**
 * Sums over tokens first, then one division: loss in nats per labelled token, perplexity = exp(loss) (finite, so that JSON can hold it), shares in 0 … 1.
 * `what` names the rows in the error thrown where there is no labelled token, or (`Diverged`) the loss is not finite.
 */
export function toScore(sums: Sums, what = 'these rows'): Score {
  if (sums.tokens === 0) throw new Error(`No labelled token in ${what}: there is no loss to report.`);
  if (!Number.isFinite(sums.nll))
    throw new Diverged(
      `The loss on ${what} is not finite: the model has diverged. A lower learning rate or gradient clipping may help.`,
    );
  const loss = sums.nll / sums.tokens;
  return {
    loss,
    perplexity: Math.min(Math.exp(loss), Number.MAX_VALUE),
    tokenAccuracy: sums.correct / sums.tokens,
    ...(sums.generated > 0 && { exactMatch: sums.exact / sums.generated, rougeL: sums.rougeL / sums.generated }),
    tokens: sums.tokens,
    rows: sums.rows,
    ...(sums.generated > 0 && { generated: sums.generated }),
  };
}

const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;

/** Mean over clients, each counting the same; exact match and ROUGE-L over the clients that have them. */
export function macroOf(scores: readonly Score[]): ModelScores['macro'] {
  if (scores.length === 0) throw new Error('No client has a score to average.');
  const exact = scores.flatMap((score) => score.exactMatch ?? []);
  const rougeL = scores.flatMap((score) => score.rougeL ?? []);
  return {
    loss: mean(scores.map((score) => score.loss)),
    tokenAccuracy: mean(scores.map((score) => score.tokenAccuracy)),
    ...(exact.length > 0 && { exactMatch: mean(exact) }),
    ...(rougeL.length > 0 && { rougeL: mean(rougeL) }),
  };
}
