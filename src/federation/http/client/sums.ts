import { createHash, randomBytes } from 'node:crypto';
import { secureClient, type SecureClient } from '../../secure/client.ts';
import { answered } from '../../secure/conversation.ts';
import type { KeyPair } from '../../secure/keys.ts';
import { membersOf, NOBODY, Refused, type SecureSetup } from '../../secure/messages.ts';
import { toBytes } from '../../secure/masks.ts';
import { wordsOfSeed } from '../../secure/noise.ts';
import { secureParameters } from '../../secure/parameters.ts';
import { sumVector, vectorLength, vectorProblem, type SecureSettings } from '../../secure/vector.ts';
import { fromWire, toWire } from '../../secure/wire.ts';
import { readTensors } from '../../../formats/files/safetensors.ts';
import type { SumNoise } from '../../../methods/stage.ts';
import type { Tensors } from '../../../tensor/tensor.ts';
import { noTotals, type SumMessage, type UpdateMessage } from '../protocol.ts';
import { setupSchema, type SumAnswer } from '../sum-protocol.ts';
import { digestOf } from './api.ts';
import type { ClientState, Undecided } from './state.ts';

/** A stage of a sum, but for its place and where its message is. */
export type SumStage = Pick<SumMessage, 'id' | 'stage' | 'session' | 'work'>;

/** A client's part in secure sums. */
export interface SumParty {
  /** Why an update cannot go into a sum, in words. */
  problem(update: Tensors, weight: number, noise?: SumNoise): string | undefined;
  /** What this client answers in a stage, and what is to be uploaded before. Throws `Refused` where it will not. */
  answer(
    task: SumStage,
    message: Uint8Array,
  ): Promise<{ readonly answer: SumAnswer; readonly upload: Uint8Array | undefined }>;
}

interface Current {
  readonly session: string;
  readonly setup: SecureSetup;
  /** As this sum's parameters follow from them. */
  readonly settings: SecureSettings;
  readonly client: SecureClient;
  readonly work: Undecided;
}

/**
 * Takes part in one secure sum at a time, whose secrets are in memory only: who is started again has left it. A session is entered
 * once in a client's life, and an update that was signed to be in a sum of some clients goes into no sum of others.
 * @param identity Ed25519; `pinned`: public keys (base64url) of all whom this client will add up with; undefined: whom the server names;
 * `server`: that of the server's own rows, where they may be in the sum: nothing it knows is hidden from the server
 */
export function sumParty(parts: {
  readonly identity: KeyPair;
  readonly settings: SecureSettings;
  readonly state: Pick<ClientState, 'undecided' | 'payload' | 'enter' | 'signed' | 'sign' | 'pledge'>;
  readonly pinned?: ReadonlySet<string> | undefined;
  readonly server?: string | undefined;
}): SumParty {
  const { identity, settings, state, pinned, server } = parts;
  let current: Current | undefined;

  async function begun({ session, work: id }: SumStage, content: unknown): Promise<Current> {
    const work = state.undecided().find((one) => one.id === id);
    if (work?.kept === undefined) throw new Refused('no finished update of this round is kept here');
    const { identities: keys, length } = setupSchema.parse(content);
    const identities = keys.map((key) => new Uint8Array(Buffer.from(key, 'base64url')));
    const me = identities.findIndex((key) => Buffer.compare(key, identity.publicKey) === 0);
    if (me < 0) throw new Refused('this client’s identity is not among those of the sum');
    const nobody = toWire(NOBODY);
    const stranger = pinned && keys.find((key) => key !== nobody && key !== server && !pinned.has(key));
    if (stranger !== undefined) throw new Refused(`the identity ${stranger} is not among those this client was given`);
    // By its own reckoning, whatever the server's: it would gain from lower ones.
    const counted = { ...settings, server: server !== undefined && keys.includes(server) };
    const parameters = secureParameters(keys.length, counted);
    const own = vectorLength(await updateOf(work));
    if (own !== length) throw new Refused(`the sum is of ${length} numbers, and this client has ${own}`);
    const { bits } = settings;
    const setup = { session: new Uint8Array(Buffer.from(session, 'hex')), parameters, identities, bits, length };
    const client = secureClient({ setup, me, identity: identity.privateKey });
    if (!state.enter(session)) throw new Refused('this client has been in this very sum before');
    return { session, setup, settings: counted, client, work };
  }

  async function updateOf(work: Undecided): Promise<Tensors> {
    const payload = await state.payload(work);
    if (payload === undefined) throw new Refused('the finished update was lost');
    return readTensors(payload.path);
  }

  /** With noise of its own only ever the same one for a round: of two draws the difference would tell how much is noise. */
  function vectorOf(update: Tensors, { work, setup, settings: counted }: Current): Uint32Array {
    const { place, round, kept } = work;
    const { noise, ...addend } = kept!;
    const vector = sumVector(update, setup.identities.length, counted, noise);
    const source = noise && wordsOfSeed(new Uint8Array(Buffer.from(noise.seed, 'base64url')));
    const words = vector.encode({ update, ...addend }, source);
    if (noise !== undefined && !state.pledge(place, round, digestOf(toBytes(words))))
      throw new Refused('another update, or the same with other noise, was given to a sum of this round before');
    return words;
  }

  /** Whose numbers are in the sum, by their identities. */
  const setOf = ({ setup: { identities } }: Current, members: Uint8Array): string =>
    createHash('sha256')
      .update(
        membersOf(members, identities.length)
          .map((i) => Buffer.from(identities[i]!).toString('hex'))
          .sort()
          .join(),
      )
      .digest('hex');

  return {
    problem: (update, weight, noise) => vectorProblem(update, weight, settings, noise),
    async answer(task, message) {
      const content: unknown = JSON.parse(Buffer.from(message).toString('utf8'));
      if (task.stage === 'advert') current = await begun(task, content);
      if (current?.session !== task.session)
        throw new Refused('this client was started again since: its secrets are gone');
      const entered = current;
      const { client, work } = entered;
      const received = task.stage === 'advert' ? undefined : fromWire(content);
      const update = task.stage === 'masked' ? await updateOf(work) : undefined;
      const made = answered(client, task.stage, received, () => vectorOf(update!, entered));
      if (task.stage === 'vouch') {
        const members = setOf(entered, (received as { members: Uint8Array }).members);
        const before = state.signed(work.id);
        // The difference of the two sums would be the updates of the few who are in one of them. What counts is the signature:
        // with it others' shares suffice, whether this client reveals its own or is never asked.
        if (before !== undefined && before !== members)
          throw new Refused(
            'this client signed a sum of this update with other clients: two would tell of single ones',
          );
        if (before === undefined) state.sign(work.id, members);
      }
      if (made.kind !== 'masked') return { answer: toWire(made) as SumAnswer, upload: undefined };
      const { words, ...rest } = made;
      return { answer: { ...rest, digest: digestOf(words) }, upload: words };
    },
  };
}

/** What the server is told of finished work, and what is kept for a secure sum: with the noise, drawn here and now. */
export function told(
  sums: SumParty | undefined,
  update: Tensors,
  whole: UpdateMessage & { readonly weight: number },
  noise?: SumNoise,
): Pick<Undecided, 'message' | 'kept'> {
  if (sums === undefined) {
    if (noise !== undefined) throw new Error('this update needs noise of its own, which only a secure sum adds');
    return { message: whole };
  }
  const { digest, weight, totals } = whole;
  const nothing = { digest: null, seconds: 0, totals: noTotals };
  if (digest === null) return { message: { ...nothing, weight: 1 } };
  const problem = Number.isFinite(totals.lossSum) ? sums.problem(update, weight, noise) : 'its loss is not finite';
  if (problem !== undefined) throw new Error(problem);
  const { tokens, processed, lossSum } = totals;
  const seeded = noise && { noise: { ...noise, seed: randomBytes(32).toString('base64url') } };
  const kept = { digest, weight, totals: { tokens, processed, lossSum }, ...seeded };
  return { message: { ...nothing, weight: null }, kept };
}
