import { randomBytes } from 'node:crypto';
import { updateTemplate } from '../../guard/template.ts';
import type { ClientUpdate, Stage, SumNoise } from '../../methods/stage.ts';
import type { State } from '../../tensor/state.ts';
import type { Tensors } from '../../tensor/tensor.ts';
import { shapeDifference } from '../../tensor/tensors.ts';
import type { CombinedRound } from '../combine.ts';
import type { Place } from '../events.ts';
import { RoundFailed } from '../fatal.ts';
import { atServer, serverSide, type Federation } from '../federation.ts';
import { converse } from './conversation.ts';
import { keyPair } from './keys.ts';
import { BOX_BYTES, SumFailed, type SecureSetup } from './messages.ts';
import { leastHonest, secureParameters, type SecureParameters } from './parameters.ts';
import { SHARE_BYTES } from './shamir.ts';
import { sumVector, vectorProblem, type SecureSettings, type TaskTotals } from './vector.ts';

/** What every client assumes of the others, and the room that sums have, unless a run says otherwise. */
export const defaultSecureSettings: SecureSettings = {
  dropouts: 0.3,
  corrupt: 0.2,
  bits: 64,
  limit: 2 ** 10,
  weight: 2 ** 20,
};

/** A sum that clients elsewhere are asked to make. */
export interface SumAsked extends Place, Omit<SecureSetup, 'session' | 'identities'> {
  readonly round: number;
  /** Who the round is of, sorted. */
  readonly clients: readonly string[];
  /** Those of them who have something to add. */
  readonly ready: readonly string[];
  readonly signal: AbortSignal;
}

/** What came of it: the sum of the vectors of `members`, and why others are not among them. */
export interface SumHeld {
  readonly words: Uint32Array;
  readonly members: readonly string[];
  readonly left: ReadonlyMap<string, string>;
}

/** Holds a conversation with clients elsewhere. Throws `SumFailed`. */
export type HoldSum = (asked: SumAsked) => Promise<SumHeld>;

/** A combiner that learns the sum of updates and of what they cost, and no single one. Whoever adds nothing has left before masking. */
export interface SecureCombiner {
  /** Whether updates stay where they are: then a client looks itself whether its own can be carried, and adds its name only. */
  readonly far: boolean;
  /** Fewer updates make no sum. */
  readonly least: number;
  /** Of so many the noise alone is enough, where clients add some: there are as many honest ones in any sum. */
  readonly honest?: number;
  /** What is wrong with an update, in words, where it is here. */
  problem(update: Tensors, weight: number): string | undefined;
  /** Bytes of a client's messages to the server, and of those it is sent beside the task, where nobody leaves. */
  readonly bytes: { readonly up: number; readonly down: number };
  add(update: ClientUpdate, totals: TaskTotals): void;
  /** Undefined where fewer than `least` added. Throws RoundFailed where there is no sum after all. */
  finish(): Promise<CombinedRound | undefined>;
}

/**
 * Secure aggregation of a round among `clients` (sorted), each with an identity and keys of its own: Σ weight·update and Σ weight, to
 * the resolution of `pointsOf`, bit for bit the same whoever adds first. Keys and shares are exchanged at once.
 * Throws UserError where they are too few.
 * @param like what every update has to be in names and shapes
 * @param noise that each client adds to its own
 */
export function secureSum(
  clients: readonly string[],
  like: Tensors,
  settings: SecureSettings,
  noise?: SumNoise,
): SecureCombiner {
  const parameters = secureParameters(clients.length, settings);
  const identities = clients.map(() => keyPair('ed25519', new Uint8Array(randomBytes(32))));
  const { bits } = settings;
  const vector = sumVector(like, clients.length, settings, noise);
  const { length } = vector;
  const keys = identities.map(({ publicKey }) => publicKey);
  const setup = { session: new Uint8Array(randomBytes(32)), parameters, identities: keys, bits, length };
  const conversation = converse({ setup, identities });
  let added = 0;

  return {
    far: false,
    least: parameters.least,
    ...(noise && { honest: leastHonest(clients.length, settings) }),
    bytes: bytesOfClient(parameters, (length * bits) / 8),
    problem(update, weight) {
      const difference = shapeDifference(like, update);
      return difference === undefined
        ? vectorProblem(update, weight, settings, noise)
        : `its update is not what this stage adds up: ${difference}`;
    },
    add({ client, update, weight }, totals) {
      conversation.add(clients.indexOf(client), vector.encode({ update, weight, totals }));
      added++;
    },
    async finish() {
      // Too few is for the round to say.
      if (added < parameters.least) return undefined;
      const { words, members } = await whole(async () => conversation.finish());
      const { sum, weight } = vector.decode(words);
      const combined = { kind: 'sum', sum, weight, clients: members.length } as const;
      return { combined, clients: members.map((i) => clients[i]!), misfits: [] };
    },
  };
}

/** The same among clients elsewhere, which keep their updates: only the sums are ever here. */
function farSum(
  { at, round, clients, signal }: { at: Place; round: number; clients: readonly string[]; signal: AbortSignal },
  like: Tensors,
  settings: SecureSettings,
  hold: HoldSum,
  noise?: SumNoise,
): SecureCombiner {
  const parameters = secureParameters(clients.length, settings);
  const { bits } = settings;
  const vector = sumVector(like, clients.length, settings, noise);
  const { length } = vector;
  const ready: string[] = [];
  return {
    far: true,
    least: parameters.least,
    ...(noise && { honest: leastHonest(clients.length, settings) }),
    bytes: bytesOfClient(parameters, (length * bits) / 8),
    problem: () => undefined,
    add: ({ client }) => void ready.push(client),
    async finish() {
      if (ready.length < parameters.least) return undefined;
      const asked = { ...at, round, clients, ready, signal, parameters, bits, length };
      const { words, members, left } = await whole(() => hold(asked));
      const { sum, weight, totals } = vector.decode(words);
      const misfits = ready
        .filter((client) => !members.includes(client))
        .map((client) => ({ client, reason: left.get(client) ?? 'its numbers are not in the secure sum' }));
      return { combined: { kind: 'sum', sum, weight, clients: members.length }, clients: members, misfits, totals };
    },
  };
}

/** The sum of a stage's round, where the run asks for secure sums and clients send any. Throws UserError where it cannot be one. */
export async function secureAt(
  round: Pick<Federation, 'stages' | 'hasProxy' | 'secure' | 'holdSum'> & {
    readonly stage: Stage;
    readonly at: Place;
    readonly shared: State;
    readonly round: number;
    readonly signal: AbortSignal;
  },
  clients: readonly string[],
  noise?: SumNoise,
): Promise<SecureCombiner | undefined> {
  const { stage, holdSum } = round;
  const [first] = clients;
  if (round.secure === undefined || stage.combine === 'none' || serverSide(stage) !== undefined || first === undefined)
    return undefined;
  const own = atServer(round, stage);
  const secure = { ...round.secure, server: own !== undefined && clients.includes(own) };
  const like = await updateTemplate(stage, round.shared, first, round.round);
  return holdSum === undefined
    ? secureSum(clients, like, secure, noise)
    : farSum({ ...round, clients }, like, secure, holdSum, noise);
}

async function whole<T>(sum: () => Promise<T>): Promise<T> {
  try {
    return await sum();
  } catch (error) {
    if (!(error instanceof SumFailed)) throw error;
    throw new RoundFailed(
      `secure aggregation: ${error.message}. Everything before this round is kept; --resume tries it again.`,
      { cause: error },
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
