import type { Sums } from '../../../evaluate/sums.ts';
import { tellsNothing, type DataCounts, type Description, type EvaluateMessage } from '../protocol.ts';
import { Refusal } from '../refusal.ts';

/** Nats per labelled token that no model of finite numbers comes near: more is no measurement, and would drown everybody's. */
const MOST_NATS = 1e6;

/**
 * Refuses sums that no model can have on the rows with which the client joined. Within these bounds a client can still say what it
 * likes of its own rows; but no two of them make a mean overflow, and no share leaves 0 … 1.
 */
export function requireSums(
  sums: Sums | null,
  rows: EvaluateMessage['rows'],
  data: DataCounts | null | undefined,
  description: Pick<Description, 'config'>,
): void {
  if (sums === null) return;
  const refuse = (why: string): never => {
    throw new Refusal(422, 'sums', why);
  };
  if (tellsNothing(description)) refuse('this run has the guard `privacy`: what you score stays with you, send null');
  const most = data?.[rows] ?? 0;
  if (sums.rows > most) refuse(`sums of ${sums.rows} rows, and you joined with ${most} for ${rows}`);
  const { maxLength } = description.config['data'] as { readonly maxLength: number };
  if (sums.tokens > sums.rows * maxLength)
    refuse(`${sums.tokens} labelled tokens in ${sums.rows} rows of at most ${maxLength} tokens`);
  if (sums.nll < 0 || sums.nll > MOST_NATS * sums.tokens)
    refuse(`a loss of ${sums.nll} nats on ${sums.tokens} labelled tokens is not one`);
  if (sums.correct > sums.tokens) refuse(`${sums.correct} tokens right of ${sums.tokens}`);
  if (sums.generated > sums.rows) refuse(`${sums.generated} answers to ${sums.rows} rows`);
  // A sum of shares is right to a rounding each.
  if (Math.max(sums.exact, sums.rougeL) > sums.generated * (1 + 1e-9))
    refuse(`scores of ${sums.exact} and ${sums.rougeL} in ${sums.generated} answers, of which none has more than 1`);
}
