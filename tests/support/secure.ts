import { randomBytes } from 'node:crypto';
import { secureClient, type SecureClient } from '../../src/federation/secure/client.ts';
import { keyPair, type KeyPair } from '../../src/federation/secure/keys.ts';
import { addWords, wordsOf, type Bits } from '../../src/federation/secure/masks.ts';
import type { SecureSetup } from '../../src/federation/secure/messages.ts';
import type { SecureParameters } from '../../src/federation/secure/parameters.ts';
import { secureServer } from '../../src/federation/secure/server.ts';

/** Ten clients in a ring of four neighbours each; three shares give a secret back. */
export const tenClients: SecureParameters = { clients: 10, neighbours: 4, threshold: 3, least: 6 };

export function secureSetup(parameters: SecureParameters, length = 5, bits: Bits = 64) {
  const identities: KeyPair[] = Array.from({ length: parameters.clients }, () => keyPair('ed25519', randomBytes(32)));
  const keys = identities.map(({ publicKey }) => publicKey);
  const setup: SecureSetup = { session: randomBytes(32), parameters, identities: keys, bits, length };
  return { setup, identities };
}

/** Any words: the protocol adds whatever they mean. */
export const randomWords = (length: number, bits: Bits): Uint32Array =>
  new Uint32Array(Uint8Array.from(randomBytes((length * bits) / 8)).buffer);

export function plainSum(vectors: readonly Uint32Array[], length: number, bits: Bits): Uint32Array {
  const sum = wordsOf(length, bits);
  for (const vector of vectors) addWords(sum, vector, bits);
  return sum;
}

/** A server and its clients, advanced by hand: each step answers what the one before gave. */
export function table(parameters: SecureParameters = tenClients, random?: (length: number) => Uint8Array) {
  const { setup, identities } = secureSetup(parameters);
  const server = secureServer(setup);
  const clients: SecureClient[] = identities.map(({ privateKey: identity }, me) =>
    secureClient({ setup, me, identity, ...(random && { random }) }),
  );
  const all = clients.map((_, i) => i);
  const vectors = all.map(() => randomWords(setup.length, setup.bits));
  const but = (absent: readonly number[]): number[] => all.filter((i) => !absent.includes(i));
  return {
    setup,
    identities,
    server,
    clients,
    vectors,
    /** Each takes the conversation to the beginning of the next stage, without those absent, and gives what clients are to answer. */
    advertised(absent: readonly number[] = []) {
      for (const i of but(absent)) server.receive(clients[i]!.advert());
      return server.directories();
    },
    shared(absent: readonly number[] = []) {
      for (const [i, directory] of this.advertised())
        if (!absent.includes(i)) server.receive(clients[i]!.shares(directory));
      return server.deliveries();
    },
    masked(absent: readonly number[] = []) {
      for (const [i, delivery] of this.shared())
        if (!absent.includes(i)) server.receive(clients[i]!.masked(delivery, vectors[i]!.slice()));
      return server.survivors();
    },
    vouched(absent: readonly number[] = []) {
      for (const [i, survivors] of this.masked(absent)) server.receive(clients[i]!.vouch(survivors));
      return server.requests();
    },
  };
}
