import type { Tensor, Tensors } from '../../tensor/tensor.ts';
import { countNumbers, getTensor } from '../../tensor/tensors.ts';
import { BeyondLimit, decode, encode, fixedPoint, type FixedPoint } from './fixed-point.ts';
import { wordsOf, type Bits } from './masks.ts';
import type { Assumptions } from './parameters.ts';

/** How a run's sums are made. */
export interface SecureSettings extends Assumptions {
  readonly bits: Bits;
  /** Largest magnitude of a number of an update. */
  readonly limit: number;
  /** Largest weight of an update. */
  readonly weight: number;
}

/** What a task cost, of which the server learns the sum only: labelled and all tokens, Σ loss·tokens (nats). */
export interface TaskTotals {
  readonly tokens: number;
  readonly processed: number;
  readonly lossSum: number;
}

/** What a client has to say in a round: all of it goes into the sum. */
export interface Addend {
  readonly update: Tensors;
  readonly weight: number;
  readonly totals: TaskTotals;
}

/** Largest magnitude of a total: steps of 2⁻¹³ among a thousand clients with 64 bits, of 2¹⁹ with 32, where they say little. */
const TOTAL = 2 ** 40;

/** The fixed-point numbers of so many clients: of weights, of weights times updates, of totals. Resolution and overflow bound are theirs. */
export const pointsOf = (
  clients: number,
  { bits, limit, weight }: SecureSettings,
): { readonly weights: FixedPoint; readonly values: FixedPoint; readonly totals: FixedPoint } => ({
  weights: fixedPoint(bits, clients, weight),
  values: fixedPoint(bits, clients, weight * limit),
  totals: fixedPoint(bits, clients, TOTAL),
});

/** What of an update cannot be carried, in words: its own client looks, since nobody else can. */
export function vectorProblem(update: Tensors, weight: number, settings: SecureSettings): string | undefined {
  const { limit, weight: largest } = settings;
  if (!(weight > 0 && weight <= largest))
    return `the weight of its update is not above 0 and at most ${largest}, which secure aggregation carries`;
  for (const { data } of update.values())
    for (const x of data) if (!(Math.abs(x) <= limit)) return new BeyondLimit(limit).message;
  return undefined;
}

/** Numbers of a vector before those of the update: the weight, three totals. */
const BEFORE = 4;

/** How many numbers the vector of such an update has. */
export const vectorLength = (like: Tensors): number => BEFORE + countNumbers(like);

/**
 * A client's vector, weight·update with the weight and its totals before it, in whole numbers: the weight, tokens, processed, Σ loss·tokens,
 * then the tensors by name. Σ over clients is the same bits whoever adds first.
 * @param clients how many are asked, of whom the sum may be
 */
export function sumVector(like: Tensors, clients: number, settings: SecureSettings) {
  const { bits } = settings;
  const points = pointsOf(clients, settings);
  const length = vectorLength(like);
  // The order of a map is not part of an update.
  const names = [...like.keys()].sort();
  return {
    length,
    encode({ update, weight, totals: { tokens, processed, lossSum } }: Addend): Uint32Array {
      const words = wordsOf(length, bits);
      encode(words, 0, [weight], 1, points.weights);
      encode(words, 1, [tokens, processed, lossSum], 1, points.totals);
      let at = BEFORE;
      for (const name of names) {
        const { data } = getTensor(update, name);
        encode(words, at, data, weight, points.values);
        at += data.length;
      }
      return words;
    },
    decode(words: Uint32Array): { readonly sum: Tensors; readonly weight: number; readonly totals: TaskTotals } {
      const found = new Map<string, Tensor>();
      let at = BEFORE;
      for (const name of names) {
        const { shape, data } = getTensor(like, name);
        found.set(name, { shape, data: new Float32Array(decode(words, at, data.length, points.values)) });
        at += data.length;
      }
      const sum = new Map([...like.keys()].map((name) => [name, getTensor(found, name)]));
      const [tokens, processed, lossSum] = decode(words, 1, 3, points.totals);
      const totals = { tokens: Math.round(tokens!), processed: Math.round(processed!), lossSum: lossSum! };
      return { sum, weight: decode(words, 0, 1, points.weights)[0]!, totals };
    },
  };
}
