import { randomBytes } from 'node:crypto';
import { updateTemplate } from '../../guard/template.ts';
import type { ClientUpdate, Stage } from '../../methods/stage.ts';
import type { State } from '../../tensor/state.ts';
import type { Tensor, Tensors } from '../../tensor/tensor.ts';
import { countNumbers, shapeDifference } from '../../tensor/tensors.ts';
import type { Combiner } from '../combine.ts';
import { RoundFailed } from '../fatal.ts';
import { serverSide } from '../federation.ts';
import { converse } from './conversation.ts';
import { BeyondLimit, decode, encode, fixedPoint, type FixedPoint } from './fixed-point.ts';
import { keyPair } from './keys.ts';
import { wordsOf, type Bits } from './masks.ts';
import { BOX_BYTES, SumFailed } from './messages.ts';
import { secureParameters, type Assumptions, type SecureParameters } from './parameters.ts';
import { SHARE_BYTES } from './shamir.ts';

/** How a run's sums are made. */
export interface SecureSettings extends Assumptions {
  readonly bits: Bits;
  /** Largest magnitude of a number of an update. */
  readonly limit: number;
  /** Largest weight of an update. */
  readonly weight: number;
}

/** What every client assumes of the others, and the room that sums have, unless a run says otherwise. */
export const defaultSecureSettings: SecureSettings = {
  dropouts: 0.3,
  corrupt: 0.2,
  bits: 64,
  limit: 2 ** 10,
  weight: 2 ** 20,
};

/** The fixed-point numbers of so many clients: of weights, and of weights times updates. Resolution and overflow bound are theirs. */
export const pointsOf = (
  clients: number,
  { bits, limit, weight }: SecureSettings,
): { readonly weights: FixedPoint; readonly values: FixedPoint } => ({
  weights: fixedPoint(bits, clients, weight),
  values: fixedPoint(bits, clients, weight * limit),
});

/** A combiner that takes updates as they come, masks them and learns their sum. Whoever adds nothing has left before masking. */
export interface SecureCombiner extends Combiner {
  /** Fewer updates make no sum. */
  readonly least: number;
  /** What is wrong with an update, in words: its own client looks, since nobody else can. */
  problem(update: Tensors, weight: number): string | undefined;
  /** Bytes of a client's messages to the server, and of those it is sent beside the task, where nobody leaves. */
  readonly bytes: { readonly up: number; readonly down: number };
}

/**
 * Secure aggregation of a round among `clients` (sorted), each with an identity and keys of its own: Σ weight·update and Σ weight, to
 * the resolution of `pointsOf`, bit for bit the same whoever adds first. Keys and shares are exchanged at once.
 * Throws UserError where they are too few.
 * @param like what every update has to be in names and shapes
 */
export function secureSum(clients: readonly string[], like: Tensors, settings: SecureSettings): SecureCombiner {
  const parameters = secureParameters(clients.length, settings);
  const { weights, values } = pointsOf(clients.length, settings);
  const identities = clients.map(() => keyPair('ed25519', new Uint8Array(randomBytes(32))));
  const { bits, limit, weight: largest } = settings;
  const length = 1 + countNumbers(like);
  const keys = identities.map(({ publicKey }) => publicKey);
  const setup = { session: new Uint8Array(randomBytes(32)), parameters, identities: keys, bits, length };
  const conversation = converse({ setup, identities });
  let added = 0;

  return {
    least: parameters.least,
    bytes: bytesOfClient(parameters, (length * bits) / 8),
    problem(update, weight) {
      const difference = shapeDifference(like, update);
      if (difference !== undefined) return `its update is not what this stage adds up: ${difference}`;
      if (weight > largest) return `its update has weight ${weight}, and secure aggregation carries at most ${largest}`;
      for (const { data } of update.values())
        for (const x of data) if (!(Math.abs(x) <= limit)) return new BeyondLimit(x, limit).message;
      return undefined;
    },
    add({ client, update, weight }: ClientUpdate) {
      const words = wordsOf(length, bits);
      encode(words, 0, [weight], 1, weights);
      let at = 1;
      for (const name of like.keys()) {
        const { data } = update.get(name)!;
        encode(words, at, data, weight, values);
        at += data.length;
      }
      conversation.add(clients.indexOf(client), words);
      added++;
    },
    finish() {
      // Too few is for the round to say.
      if (added < parameters.least) return undefined;
      const { words, members } = whole(() => conversation.finish());
      const sum = new Map<string, Tensor>();
      let at = 1;
      for (const [name, { shape, data }] of like) {
        sum.set(name, { shape, data: new Float32Array(decode(words, at, data.length, values)) });
        at += data.length;
      }
      const weight = decode(words, 0, 1, weights)[0]!;
      const combined = { kind: 'sum', sum, weight, clients: members.length } as const;
      return { combined, clients: members.map((i) => clients[i]!), misfits: [] };
    },
  };
}

/** The sum of a stage's round, where the run asks for secure sums and clients send any. Throws UserError where it cannot be one. */
export async function secureAt(
  round: { readonly stage: Stage; readonly shared: State; readonly round: number; readonly secure?: SecureSettings },
  clients: readonly string[],
): Promise<SecureCombiner | undefined> {
  const { stage, secure } = round;
  const [first] = clients;
  if (secure === undefined || stage.combine === 'none' || serverSide(stage) !== undefined || first === undefined)
    return undefined;
  return secureSum(clients, await updateTemplate(stage, round.shared, first, round.round), secure);
}

function whole<T>(sum: () => T): T {
  try {
    return sum();
  } catch (error) {
    if (!(error instanceof SumFailed)) throw error;
    throw new RoundFailed(
      `secure aggregation: ${error.message}. Everything before this round is kept; --resume tries it again.`,
    );
  }
}

/** The fields of the messages, as `bytesOf` counts them. */
function bytesOfClient({ clients, neighbours }: SecureParameters, vector: number): SecureCombiner['bytes'] {
  const number = 4;
  const advert = number + 3 * 32 + 64;
  const boxes = neighbours * (number + BOX_BYTES);
  const vouch = number + 64;
  return {
    up: advert + number + boxes + number + vector + vouch + number + neighbours * (number + SHARE_BYTES),
    down: neighbours * advert + boxes + Math.ceil(clients / 8) + clients * vouch + neighbours * number,
  };
}
