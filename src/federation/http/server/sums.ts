import { randomBytes } from 'node:crypto';
import { hold } from '../../secure/conversation.ts';
import { membersOf, NOBODY, Refused, SumFailed, type SecureStage } from '../../secure/messages.ts';
import type { HoldSum } from '../../secure/combiner.ts';
import { secureServer, type SecureSum } from '../../secure/server.ts';
import { fromWire, toWire } from '../../secure/wire.ts';
import { Fatal } from '../../fatal.ts';
import { interrupted } from '../../task.ts';
import { timeoutSignal } from '../../timeout-signal.ts';
import type { SumAnswer } from '../sum-protocol.ts';
import { Refusal } from '../refusal.ts';
import type { SumStage } from '../client/sums.ts';
import type { Blobs } from './blobs.ts';
import type { Desk, Offer } from './desk.ts';
import type { OwnParty } from './own-party.ts';
import { taskId } from './participant.ts';
import type { Store } from './store.ts';
import type { Uploads } from './uploads.ts';

/** A stage of a secure sum, as an offer has it. */
export interface SumOffer {
  /** Of the masked vector that is to be uploaded; 0 in stages without. */
  readonly bytes: number;
  /** Gives the client's message to the sum. Throws `Refused`. */
  receive(message: unknown): void;
}

/**
 * Secure sums among clients at the other end of a connection: each stage of each is a task on the desk, with a deadline. A conversation
 * lives in this process only: one that was cut short is begun anew, with a new session.
 */
export function remoteSums(parts: {
  readonly run: string;
  readonly desk: Desk;
  readonly blobs: Blobs;
  readonly store: Pick<Store, 'identities' | 'audit' | 'meta' | 'setMeta'>;
  /** The finished training of each client. */
  readonly trained: ReadonlyMap<string, string>;
  /** Seconds for one stage. */
  readonly deadline: number;
  /** The server's own rows, where they are one of those who add up. */
  readonly own?: OwnParty | undefined;
}): HoldSum {
  const { run, desk, blobs, store, trained, deadline, own } = parts;
  return async (asked) => {
    const { clients, ready, signal, method, stage: name, stageIndex, round, parameters, bits, length } = asked;
    const known = store.identities();
    const identities = clients.map((client) => {
      const key = known.get(client);
      return key === undefined ? NOBODY : new Uint8Array(Buffer.from(key, 'base64url'));
    });
    const random = new Uint8Array(randomBytes(32));
    const session = Buffer.from(random).toString('hex');
    const server = secureServer({ session: random, parameters, identities, bits, length });
    const setup = { identities: toWire(identities), length };
    const place = { method, stage: name, stageIndex };
    const left = new Map<string, string>();
    const signed = setOfRound(store, place, round);
    const before = signed.noted();
    // Those in it sign no other set: who came back since would spoil the sum for all.
    const able = ready.filter((client) => before === undefined || before.includes(client));
    for (const client of ready)
      if (!able.includes(client)) left.set(client, 'a sum of this round was signed by others while it was away');

    async function ask(stage: SecureStage, i: number, content: unknown): Promise<void> {
      const client = clients[i]!;
      // All are asked to sign the same set.
      if (stage === 'vouch' && signed.noted() === undefined) {
        const { members } = content as { readonly members: Uint8Array };
        signed.note(membersOf(members, clients.length).map((member) => clients[member]!));
      }
      const text = Buffer.from(JSON.stringify(stage === 'advert' ? setup : toWire(content)));
      const id = taskId(run, 'sum', session, stage, client);
      if (client === own?.name) return askOwn(own, { id, stage, session, work: trained.get(client)! }, text);
      const message = await blobs.put(() => [text]);
      const offer: Offer = {
        message: { kind: 'sum', id, place, round, work: trained.get(client)!, session, stage, message },
        client,
        place,
        round,
        blobs: [message],
        expected: new Map(),
        sent: new Map(),
        sum: {
          bytes: stage === 'masked' ? (length * bits) / 8 : 0,
          receive(answer) {
            if ((answer as { from?: unknown }).from !== i) throw new Refused(`you are client ${i} of this sum`);
            server.receive(answer);
          },
        },
      };
      const limit = timeoutSignal(deadline * 1000);
      const offered = desk.offer(offer, AbortSignal.any([signal, limit]));
      try {
        for (;;) if ((await offered.next()).done) return;
      } catch (error) {
        if (signal.aborted) throw interrupted();
        const why = limit.aborted ? `did not answer within ${deadline} s` : (error as Error).message;
        left.set(client, `left the secure sum at “${stage}”: ${why}`);
      } finally {
        await blobs.release(message.digest);
      }
    }

    /** Its numbers are under masks like everybody's: the same conversation, but for the way. */
    async function askOwn(party: OwnParty, task: SumStage, message: Uint8Array): Promise<void> {
      try {
        server.receive(await party.answer(task, message));
      } catch (error) {
        if (!(error instanceof Refused)) throw new Fatal((error as Error).message, { cause: error });
        left.set(party.name, `left the secure sum at “${task.stage}”: ${error.message}`);
      }
    }

    const told = `${method} · ${name}, round ${round + 1}, session ${session}`;
    const { words, members } = await withReasons(
      left,
      hold(
        server,
        able.map((client) => clients.indexOf(client)),
        ask,
      ),
    ).catch((error: unknown) => {
      store.audit('no secure sum', '', told);
      throw error;
    });
    store.audit('secure sum', '', `${told}, of ${members.length} clients`);
    return { words, members: members.map((i) => clients[i]!), left };
  };
}

/** Who is in the sum of this round by the first set that clients were asked to sign: kept over a restart, until the next round's. */
function setOfRound(
  store: Pick<Store, 'meta' | 'setMeta'>,
  { method, stageIndex }: { readonly method: string; readonly stageIndex: number },
  round: number,
) {
  const name = `signed ${JSON.stringify([method, stageIndex])}`;
  return {
    noted(): readonly string[] | undefined {
      const kept = JSON.parse(store.meta(name) ?? 'null') as { round: number; members: readonly string[] } | null;
      return kept?.round === round ? kept.members : undefined;
    },
    note: (members: readonly string[]): void => store.setMeta(name, JSON.stringify({ round, members })),
  };
}

async function withReasons(left: ReadonlyMap<string, string>, sum: Promise<SecureSum>): Promise<SecureSum> {
  try {
    return await sum;
  } catch (error) {
    if (!(error instanceof SumFailed)) throw error;
    const some = [...left].slice(0, 5).map(([client, why]) => `; ${client} ${why}`);
    const more = left.size > some.length ? `; and ${left.size - some.length} more` : '';
    throw new SumFailed(error.reason, `${error.message}${some.join('')}${more}`, { cause: error });
  }
}

/** Takes an upload over, which its client may have pushed out by another since it was found. */
export async function adopted(blobs: Blobs, digest: string, file: string): Promise<void> {
  await blobs.adopt(digest, file).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') throw new Refusal(409, 'not-uploaded', 'upload these tensors first');
    throw error;
  });
}

/** Gives a client's answer to the sum that has asked for it. Throws `Refusal`; then the sum has not changed. */
export async function contribute(
  { desk, uploads, blobs }: { readonly desk: Desk; readonly uploads: Uploads; readonly blobs: Blobs },
  { sum, message: { id, kind }, client }: Offer,
  answer: SumAnswer,
): Promise<void> {
  if (sum === undefined)
    throw new Refusal(409, 'kind', `this task asks for ${kind === 'train' ? 'an update' : 'sums'}, and not for this`);
  const message = answer.kind === 'masked' ? await masked(answer) : fromWire(answer);
  try {
    sum.receive(message);
  } catch (error) {
    if (error instanceof Refused) throw new Refusal(422, 'secure', error.message);
    throw error;
  }
  desk.finished(id, { result: undefined, digest: undefined });

  async function masked({ kind, from, digest }: Extract<SumAnswer, { kind: 'masked' }>): Promise<unknown> {
    const file = await uploads.file(client, digest);
    if (file === undefined) throw new Refusal(409, 'not-uploaded', 'upload this vector first');
    await adopted(blobs, digest, file);
    try {
      return { kind, from, words: await blobs.read(digest) };
    } finally {
      await blobs.release(digest);
    }
  }
}
