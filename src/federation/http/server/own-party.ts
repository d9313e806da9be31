import type { Participant, Task, Update } from '../../participant.ts';
import { PROXY } from '../../federation.ts';
import { keyPair, type KeyPair } from '../../secure/keys.ts';
import type { SecureSettings } from '../../secure/vector.ts';
import { fromWire } from '../../secure/wire.ts';
import type { Undecided } from '../client/state.ts';
import { sumParty, told, type SumStage } from '../client/sums.ts';
import { payloadChunks } from '../payload.ts';
import { noTotals, type Totals } from '../protocol.ts';
import type { Blobs } from './blobs.ts';
import { register } from './identities.ts';
import { newSecret } from './keys.ts';
import { ownDisk, taskId } from './participant.ts';
import type { Store } from './store.ts';

/**
 * The server's own rows as one of those who add up under masks. What it makes is masked like a client's, by the same code; since
 * the server knows its secrets, clients count it among the corrupt.
 */
export interface OwnParty {
  readonly name: string;
  /** Its public key, by which clients know it (base64url). */
  readonly identity: string;
  /** The participant, of whose updates those that are for a secure sum stay here until one asks for them. */
  keeping(participant: Participant): Participant;
  /** Its message in a stage of a sum. Throws `Refused` where it has none. */
  answer(task: SumStage, message: Uint8Array): Promise<unknown>;
  /** Lets go of what it kept: the round is committed. */
  committed(): Promise<void>;
}

/** Where the secret half of its identity is kept, and which set of clients it signed last. */
const [SECRET, SIGNED] = ['own identity', 'own signed'];

/**
 * What it must not forget is in the server's record before it is used: its identity, from the run's first start on, and the set that
 * it signed for an update. Its update is made again after a restart, like any of the server's own.
 * @param trained where it notes, like those of clients, which work a sum of the round is of
 */
export function ownParty(parts: {
  readonly run: string;
  readonly settings: SecureSettings;
  readonly store: Pick<Store, 'meta' | 'setMeta' | 'identities' | 'setIdentity'>;
  readonly blobs: Blobs;
  readonly trained: Map<string, string>;
}): OwnParty {
  const { run, settings, store, blobs, trained } = parts;
  const pair = ownIdentity(store);
  const identity = Buffer.from(pair.publicKey).toString('base64url');
  register(store, PROXY, identity);
  let kept: Undecided | undefined;

  const party = sumParty({
    identity: pair,
    settings,
    server: identity,
    state: {
      undecided: () => (kept === undefined ? [] : [kept]),
      async payload(work) {
        const { digest } = work.kept!;
        return (await blobs.intact(digest)) ? blobs.find(digest) : undefined;
      },
      // Drawn by this very process: none comes again.
      enter: () => true,
      signed(id) {
        const last = JSON.parse(store.meta(SIGNED) ?? 'null') as { id: string; members: string } | null;
        return last?.id === id ? last.members : undefined;
      },
      sign: (id, members) => store.setMeta(SIGNED, JSON.stringify({ id, members })),
      pledge: () => {
        throw new Error('the server’s own rows add no noise');
      },
    },
  });

  async function committed(): Promise<void> {
    const digest = kept?.kept?.digest;
    kept = undefined;
    if (digest !== undefined) await blobs.release(digest);
  }

  async function keep(task: Task, { update, weight, seconds }: Update, totals: Totals): Promise<void> {
    const { method, stage, stageIndex, round, client } = task;
    await committed();
    const id = taskId(run, 'train', method, stageIndex, round, client);
    const { digest } = await ownDisk(blobs.put(() => payloadChunks(update)));
    const work = { id, place: { method, stage, stageIndex }, round };
    kept = { ...work, ...told(party, update, { digest, weight, seconds, totals }) };
    trained.set(client, id);
  }

  return {
    name: PROXY,
    identity,
    keeping: (participant) => ({
      async *perform(task, signal) {
        if (task.kept !== true) return yield* participant.perform(task, signal);
        const working = participant.perform(task, signal);
        let totals = noTotals;
        for (;;) {
          const next = await working.next();
          if (next.done) {
            signal.throwIfAborted();
            await keep(task, next.value, totals);
            return { update: new Map(), weight: 0, seconds: next.value.seconds };
          }
          if (typeof next.value !== 'string') {
            const { step, steps, loss, tokens, processed } = next.value;
            totals = {
              step,
              steps,
              tokens: totals.tokens + tokens,
              processed: totals.processed + processed,
              lossSum: totals.lossSum + loss * tokens,
            };
          }
          yield next.value;
        }
      },
    }),
    async answer(task, message) {
      const { answer, upload } = await party.answer(task, message);
      if (answer.kind !== 'masked') return fromWire(answer);
      return { kind: answer.kind, from: answer.from, words: upload };
    },
    committed,
  };
}

/** The same in every life of the run's server. */
function ownIdentity(store: Pick<Store, 'meta' | 'setMeta'>): KeyPair {
  const secret = store.meta(SECRET) ?? newSecret();
  store.setMeta(SECRET, secret);
  return keyPair('ed25519', new Uint8Array(Buffer.from(secret, 'base64url')));
}
