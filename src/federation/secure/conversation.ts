import { randomBytes } from 'node:crypto';
import { secureClient, type SecureClient } from './client.ts';
import type { KeyPair, RandomBytes } from './keys.ts';
import { bytesOf, secureStages, type Message, type SecureSetup, type SecureStage } from './messages.ts';
import { secureServer, type SecureServer, type SecureSum } from './server.ts';

export const conversationStages = [...secureStages, 'sum'] as const;
export type ConversationStage = (typeof conversationStages)[number];

/** What begins a stage: whom the server asks, and by which message. The first is asked with the setup, by whoever carries it. */
const opening: {
  readonly [S in SecureStage]: (server: SecureServer, everybody: readonly number[]) => ReadonlyMap<number, unknown>;
} = {
  advert: (_, everybody) => new Map(everybody.map((i) => [i, undefined])),
  shares: (server) => server.directories(),
  masked: (server) => server.deliveries(),
  vouch: (server) => server.survivors(),
  reveal: (server) => server.requests(),
};

/** What a client answers in a stage. `words`: makes its encoded vector, when it is its turn. Throws `Refused`. */
export function answered(
  client: SecureClient,
  stage: SecureStage,
  received: unknown,
  words: () => Uint32Array,
): Message<SecureStage> {
  switch (stage) {
    case 'advert':
      return client.advert();
    case 'shares':
      return client.shares(received);
    case 'masked':
      return client.masked(received, words());
    case 'vouch':
      return client.vouch(received);
    case 'reveal':
      return client.reveal(received);
  }
}

/**
 * A conversation with clients elsewhere: each stage asks all who are still there at once and ends when each has answered or left.
 * Throws `SumFailed` where too few are left.
 * @param ask resolves when the server has received the client's answer, or the client has left
 */
export async function hold(
  server: SecureServer,
  everybody: readonly number[],
  ask: (stage: SecureStage, client: number, message: unknown) => Promise<void>,
): Promise<SecureSum> {
  for (const stage of secureStages)
    await Promise.all([...opening[stage](server, everybody)].map(([i, message]) => ask(stage, i, message)));
  return server.sum();
}

/** What a stage cost all clients together, and the server. */
export interface StageCost {
  clientSeconds: number;
  serverSeconds: number;
  /** Bytes of messages to the server, and to clients. */
  up: number;
  down: number;
}

export interface ConversationOptions {
  readonly setup: SecureSetup;
  /** Of all who are asked, in the setup's order. */
  readonly identities: readonly KeyPair[];
  /** Whether a client sends nothing in this stage, nor in any after it. Default: nobody leaves but those who bring no vector. */
  readonly leaves?: (client: number, stage: ConversationStage) => boolean;
  readonly random?: RandomBytes;
  /** Seconds, for the costs. Default: those that pass. */
  readonly clock?: () => number;
}

/**
 * A whole conversation in one process: every client with keys and masks of its own, message by message, but one vector at a time.
 * It proves the protocol's arithmetic and shows its costs; who can read this process's memory sees everything.
 */
export function converse({
  setup,
  identities,
  leaves = () => false,
  random = randomBytes,
  clock = () => performance.now() / 1000,
}: ConversationOptions) {
  const costs = Object.fromEntries(
    conversationStages.map((stage): [ConversationStage, StageCost] => [
      stage,
      { clientSeconds: 0, serverSeconds: 0, up: 0, down: 0 },
    ]),
  ) as Record<ConversationStage, StageCost>;
  const bytes = identities.map(() => ({ up: 0, down: 0 }));
  const timed = <T>(stage: ConversationStage, side: 'clientSeconds' | 'serverSeconds', work: () => T): T => {
    const from = clock();
    const result = work();
    costs[stage][side] += clock() - from;
    return result;
  };

  const server = timed('advert', 'serverSeconds', () => secureServer(setup));
  const clients = new Map<number, SecureClient>();
  const gone = new Set<number>();
  const opened = (stage: SecureStage): ReadonlyMap<number, unknown> =>
    timed(stage, 'serverSeconds', () => opening[stage](server, [...identities.keys()]));

  /** What a client sends, unless it has left. */
  function send(stage: SecureStage, i: number, received: unknown, words: () => Uint32Array): void {
    if (gone.has(i) || leaves(i, stage)) {
      gone.add(i);
      clients.delete(i);
      return;
    }
    const message = timed(stage, 'clientSeconds', () => answered(clients.get(i)!, stage, received, words));
    timed(stage, 'serverSeconds', () => server.receive(message));
    const [up, down] = [bytesOf(message), bytesOf(received)];
    costs[stage].up += up;
    costs[stage].down += down;
    bytes[i]!.up += up;
    bytes[i]!.down += down;
  }

  const everybody = (stage: SecureStage): void => {
    for (const [i, message] of opened(stage)) send(stage, i, message, noVector);
  };

  for (const [me, { privateKey: identity }] of identities.entries())
    clients.set(
      me,
      timed('advert', 'clientSeconds', () => secureClient({ setup, me, identity, random })),
    );
  everybody('advert');
  everybody('shares');
  const deliveries = opened('masked');

  return {
    costs,
    /** What each client sent and was sent, in the setup's order. */
    bytes,
    /** A client's encoded vector, which becomes its masked one. Whoever brings none has left. */
    add(i: number, words: Uint32Array): void {
      const delivery = deliveries.get(i);
      if (delivery !== undefined) send('masked', i, delivery, () => words);
    },
    /** The sum of what was added. Throws `SumFailed` where too few are left. */
    finish(): SecureSum {
      everybody('vouch');
      everybody('reveal');
      return timed('sum', 'serverSeconds', server.sum);
    },
  };
}

const noVector = (): never => {
  throw new Error('no vector is due in this stage');
};
