import { randomBytes } from 'node:crypto';
import { secureClient, type SecureClient } from './client.ts';
import type { KeyPair, RandomBytes } from './keys.ts';
import { bytesOf, type SecureSetup } from './messages.ts';
import { secureServer, type SecureSum } from './server.ts';

export const conversationStages = ['advert', 'shares', 'masked', 'vouch', 'reveal', 'sum'] as const;
export type ConversationStage = (typeof conversationStages)[number];

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

  /** What a client sends, unless it has left. */
  function send(
    stage: ConversationStage,
    i: number,
    received: unknown,
    answer: (client: SecureClient) => unknown,
  ): void {
    if (gone.has(i) || leaves(i, stage)) {
      gone.add(i);
      clients.delete(i);
      return;
    }
    const message = timed(stage, 'clientSeconds', () => answer(clients.get(i)!));
    timed(stage, 'serverSeconds', () => server.receive(message));
    const [up, down] = [bytesOf(message), bytesOf(received)];
    costs[stage].up += up;
    costs[stage].down += down;
    bytes[i]!.up += up;
    bytes[i]!.down += down;
  }

  for (const [me, { privateKey: identity }] of identities.entries()) {
    const client = timed('advert', 'clientSeconds', () => secureClient({ setup, me, identity, random }));
    clients.set(me, client);
    send('advert', me, undefined, () => client.advert());
  }
  const directories = timed('shares', 'serverSeconds', server.directories);
  for (const [i, directory] of directories) send('shares', i, directory, (client) => client.shares(directory));
  const deliveries = timed('masked', 'serverSeconds', server.deliveries);

  return {
    costs,
    /** What each client sent and was sent, in the setup's order. */
    bytes,
    /** A client's encoded vector, which becomes its masked one. Whoever brings none has left. */
    add(i: number, words: Uint32Array): void {
      const delivery = deliveries.get(i);
      if (delivery !== undefined) send('masked', i, delivery, (client) => client.masked(delivery, words));
    },
    /** The sum of what was added. Throws `SumFailed` where too few are left. */
    finish(): SecureSum {
      const survivors = timed('vouch', 'serverSeconds', server.survivors);
      for (const [i, message] of survivors) send('vouch', i, message, (client) => client.vouch(message));
      const requests = timed('reveal', 'serverSeconds', server.requests);
      for (const [i, request] of requests) send('reveal', i, request, (client) => client.reveal(request));
      return timed('sum', 'serverSeconds', server.sum);
    },
  };
}
