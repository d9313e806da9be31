import { UNCLIPPED, without } from '../../guard/beside.ts';
import { discreteGaussian, wordsFrom, type Words } from '../../guard/discrete-gaussian.ts';
import type { SumNoise } from '../../methods/stage.ts';
import type { Tensor, Tensors } from '../../tensor/tensor.ts';
import { countNumbers, getTensor, norm } from '../../tensor/tensors.ts';
import { BeyondLimit, decode, encode, fixedPoint, type FixedPoint } from './fixed-point.ts';
import { wordsOf, type Bits } from './masks.ts';
import { noisePlan } from './noise.ts';
import { leastHonest, type Assumptions } from './parameters.ts';

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
export function vectorProblem(
  update: Tensors,
  weight: number,
  settings: SecureSettings,
  noise?: SumNoise,
): string | undefined {
  if (noise !== undefined) return noisedProblem(update, weight, noise);
  const { limit, weight: largest } = settings;
  if (!(weight > 0 && weight <= largest))
    return `the weight of its update is not above 0 and at most ${largest}, which secure aggregation carries`;
  for (const { data } of update.values())
    for (const x of data) if (!(Math.abs(x) <= limit)) return new BeyondLimit(limit).message;
  return undefined;
}

/** Noise covers what is within the bound, and counts once. */
function noisedProblem(update: Tensors, weight: number, { bound, count }: SumNoise): string | undefined {
  if (weight !== 1) return 'its update does not have weight 1, and with privacy all count the same';
  if (!(norm(without(update, UNCLIPPED)) <= bound)) return `its update is longer than the bound of ${bound}`;
  const bit = update.get(UNCLIPPED)?.data;
  const counted = bit?.length === 1 && Math.abs(bit[0]!) === 0.5;
  return counted === (count !== undefined) ? undefined : 'its update does not say as it should whether it was clipped';
}

/** Numbers of a vector before those of the update: the weight, three totals. */
const BEFORE = 4;

/** How many numbers the vector of such an update has. */
export const vectorLength = (like: Tensors): number => BEFORE + countNumbers(like);

/**
 * A client's vector, weight·update with the weight and its totals before it, in whole numbers: the weight, tokens, processed, Σ loss·tokens,
 * then the tensors by name. Σ over clients is the same bits whoever adds first. With `noise` each client adds its own to the tensors.
 * @param clients how many are asked, of whom the sum may be
 */
export function sumVector(like: Tensors, clients: number, settings: SecureSettings, noise?: SumNoise) {
  const { bits } = settings;
  const points = pointsOf(clients, settings);
  const plan = noise && noisePlan(like, noise, { clients, honest: leastHonest(clients, settings), bits });
  const pointOf = (name: string): FixedPoint => plan?.of(name).point ?? points.values;
  const length = vectorLength(like);
  // The order of a map is not part of an update.
  const names = [...like.keys()].sort();
  return {
    length,
    /** @param source of the noise, where there is any. Default: the system's cryptographic random numbers */
    encode({ update, weight, totals: { tokens, processed, lossSum } }: Addend, source?: Words): Uint32Array {
      const words = wordsOf(length, bits);
      encode(words, 0, [weight], 1, points.weights);
      encode(words, 1, [tokens, processed, lossSum], 1, points.totals);
      const random = plan && (source ?? wordsFrom());
      let at = BEFORE;
      for (const name of names) {
        const { data } = getTensor(update, name);
        const draw = plan && discreteGaussian(plan.of(name).variance, random);
        encode(words, at, data, weight, pointOf(name), draw);
        at += data.length;
      }
      return words;
    },
    decode(words: Uint32Array): { readonly sum: Tensors; readonly weight: number; readonly totals: TaskTotals } {
      const found = new Map<string, Tensor>();
      let at = BEFORE;
      for (const name of names) {
        const { shape, data } = getTensor(like, name);
        found.set(name, { shape, data: new Float32Array(decode(words, at, data.length, pointOf(name))) });
        at += data.length;
      }
      const sum = new Map([...like.keys()].map((name) => [name, getTensor(found, name)]));
      const [tokens, processed, lossSum] = decode(words, 1, 3, points.totals);
      const totals = { tokens: Math.round(tokens!), processed: Math.round(processed!), lossSum: lossSum! };
      return { sum, weight: decode(words, 0, 1, points.weights)[0]!, totals };
    },
  };
}
