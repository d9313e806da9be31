import { neighbourGraph } from './graph.ts';
import { keyPair } from './keys.ts';
import { addWords, toWords, wordsOf } from './masks.ts';
import * as messages from './messages.ts';
import {
  Refused,
  secureStages as stages,
  signedBy,
  SumFailed,
  type Kind,
  type Message,
  type SecureSetup,
  type SecureStage as Stage,
} from './messages.ts';
import { applyOwnMask, applyPairMask, seedHash } from './pair.ts';
import { requireParameters } from './parameters.ts';
import { combine, type Share } from './shamir.ts';

/** Messages to clients, by their numbers. */
type Outgoing<K extends Kind> = ReadonlyMap<number, Message<K>>;

export interface SecureSum {
  /** The sum of the vectors of `members`, modulo 2^bits. */
  readonly words: Uint32Array;
  readonly members: readonly number[];
}

/**
 * The server's side of one sum: `receive` takes the messages of the stage at hand in any order, the next method closes the stage.
 * It holds one vector, the sum of what came, whatever the number of clients.
 */
export interface SecureServer {
  /** Throws `Refused` for a message of another stage, a second one of its sender, or one that is not right; nothing changes then. */
  receive(message: unknown): void;
  readonly directories: () => Outgoing<'directory'>;
  readonly deliveries: () => Outgoing<'delivery'>;
  readonly survivors: () => Outgoing<'survivors'>;
  readonly requests: () => Outgoing<'request'>;
  /** The closing methods throw `SumFailed` where too few are left. */
  readonly sum: () => SecureSum;
}

export function secureServer(setup: SecureSetup): SecureServer {
  const { parameters, bits } = setup;
  requireParameters(parameters);
  const { clients, threshold, least } = parameters;
  const context = messages.contextOf(setup);
  const schemas = messages.schemasFor(setup);
  const graph = neighbourGraph(clients, parameters.neighbours, setup.session);
  const words = wordsOf(setup.length, bits);
  const adverts = new Map<number, Message<'advert'>>();
  const boxes = new Map<number, Message<'shares'>['boxes']>();
  const vouches = new Map<number, Uint8Array>();
  const seedShares = new Map<number, Share[]>();
  const keyShares = new Map<number, Share[]>();
  /** Who answered, stage by stage; each is a part of the one before. */
  const answered: Record<Stage, Set<number>> = {
    advert: new Set(),
    shares: new Set(),
    masked: new Set(),
    vouch: new Set(),
    reveal: new Set(),
  };
  let members = new Uint8Array();
  let current = 0;

  const inSum = (): number[] => [...answered.masked].sort((a, b) => a - b);
  const sharing = (i: number): number[] => graph[i]!.filter((j) => answered.shares.has(j));

  const accept: { readonly [S in Stage]: (message: unknown) => () => void } = {
    advert(message) {
      const advert = messages.parsed(schemas.advert, message);
      if (!signedBy(setup, advert.from, messages.advertStatement(context, advert), advert.signature))
        throw new Refused(`the keys of client ${advert.from} are not signed by it for this sum`);
      return () => void adverts.set(advert.from, advert);
    },
    shares(message) {
      const given = messages.parsed(schemas.shares, message);
      const expected = graph[given.from]!.filter((j) => adverts.has(j));
      const to = given.boxes.map((box) => box.to).sort((a, b) => a - b);
      if (to.join() !== expected.join())
        throw new Refused(`client ${given.from} shares its secrets with others than those it was told of`);
      return () => void boxes.set(given.from, given.boxes);
    },
    masked(message) {
      const given = messages.parsed(schemas.masked, message);
      return () => addWords(words, toWords(given.words), bits);
    },
    vouch(message) {
      const { from, signature } = messages.parsed(schemas.vouch, message);
      if (!signedBy(setup, from, messages.survivorsStatement(context, members), signature))
        throw new Refused(`client ${from} vouches for other clients in the sum, or is not who it says`);
      return () => void vouches.set(from, signature);
    },
    reveal(message) {
      const { from, seeds, keys } = messages.parsed(schemas.reveal, message);
      const asked = requestFor(from);
      if (
        seeds.map(({ of }) => of).join() !== asked.seeds.join() ||
        keys.map(({ of }) => of).join() !== asked.keys.join()
      )
        throw new Refused(`client ${from} reveals other shares than it was asked for`);
      return () => {
        const put = (into: Map<number, Share[]>, { of, share }: (typeof seeds)[number]): void =>
          void into.set(of, [...(into.get(of) ?? []), { x: from + 1, y: share }]);
        for (const each of seeds) put(seedShares, each);
        for (const each of keys) put(keyShares, each);
      };
    },
  };

  function requestFor(i: number) {
    const held = sharing(i);
    return { seeds: held.filter((j) => answered.masked.has(j)), keys: held.filter((j) => !answered.masked.has(j)) };
  }

  /** Ends a stage, after which `needed` have to be left, and says who is. */
  function close(stage: Stage, needed = least): number[] {
    if (stages[current] !== stage) throw new Error(`the stage “${stage}” is not the one at hand`);
    const left = answered[stage].size;
    if (left < needed)
      throw new SumFailed(
        'too few clients',
        `${left} of ${clients} clients are left after “${stage}”, and ${needed} are needed`,
      );
    current++;
    return [...answered[stage]].sort((a, b) => a - b);
  }

  const toEach = <T>(to: readonly number[], message: (i: number) => T): ReadonlyMap<number, T> =>
    new Map(to.map((i) => [i, message(i)]));

  function secretOf(i: number, shares: readonly Share[], what: string): Uint8Array {
    if (shares.length < threshold)
      throw new SumFailed(
        'too few shares',
        `${shares.length} shares of the ${what} of client ${i} came, and ${threshold} are needed`,
      );
    try {
      return combine(shares.slice(0, threshold));
    } catch (cause) {
      throw new SumFailed('wrong shares', `shares of the ${what} of client ${i} are wrong`, { cause });
    }
  }

  function requireSame(i: number, a: Uint8Array, b: Uint8Array, what: string): void {
    if (Buffer.compare(a, b) !== 0)
      throw new SumFailed('wrong shares', `shares of the ${what} of client ${i} are wrong`);
  }

  return {
    receive(message) {
      const stage = stages[current];
      if (stage === undefined) throw new Refused('the sum is over');
      const { kind, from } = (message ?? {}) as { kind?: unknown; from?: unknown };
      if (kind !== stage)
        throw new Refused(`a message of the stage “${String(kind)}”, and it is the turn of “${stage}”`);
      const store = accept[stage](message);
      // The schema has seen that it is the number of a client.
      const sender = from as number;
      const before = stages[current - 1];
      if (before !== undefined && !answered[before].has(sender))
        throw new Refused(`client ${sender} has not been there since “${before}”`);
      if (answered[stage].has(sender)) throw new Refused(`client ${sender} has already sent its “${stage}”`);
      store();
      answered[stage].add(sender);
    },
    directories: () =>
      toEach(close('advert'), (i) => ({
        kind: 'directory',
        adverts: graph[i]!.flatMap((j) => (adverts.has(j) ? [adverts.get(j)!] : [])),
      })),
    deliveries: () =>
      toEach(close('shares'), (i) => ({
        kind: 'delivery',
        boxes: sharing(i).map((from) => ({ from, box: boxes.get(from)!.find(({ to }) => to === i)!.box })),
      })),
    survivors() {
      const left = close('masked');
      boxes.clear();
      members = new Uint8Array(messages.memberBits(left, clients));
      return toEach(left, () => ({ kind: 'survivors', members }));
    },
    requests() {
      const left = close('vouch');
      const signatures = left.map((from) => ({ from, signature: vouches.get(from)! }));
      return toEach(left, (i) => ({ kind: 'request', vouches: signatures, ...requestFor(i) }));
    },
    sum() {
      // Whether enough came is for each client's shares to say.
      close('reveal', 0);
      for (const i of answered.shares) {
        if (answered.masked.has(i)) {
          const seed = secretOf(i, seedShares.get(i) ?? [], 'seed');
          requireSame(i, seedHash(context, seed), adverts.get(i)!.seedHash, 'seed');
          applyOwnMask(words, context, seed, 'unmask', bits);
        } else {
          const others = sharing(i).filter((j) => answered.masked.has(j));
          // Nobody in the sum has a mask with it.
          if (others.length === 0) continue;
          const key = secretOf(i, keyShares.get(i) ?? [], 'mask key');
          requireSame(i, keyPair('x25519', key).publicKey, adverts.get(i)!.maskKey, 'mask key');
          for (const j of others) applyPairMask(words, context, [key, i], [adverts.get(j)!.maskKey, j], 'mask', bits);
        }
      }
      return { words, members: inSum() };
    },
  };
}
