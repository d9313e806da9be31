import { randomBytes } from 'node:crypto';
import { neighbourGraph } from './graph.ts';
import { keyPair, open, seal, sharedSecret, sign, type KeyPair, type RandomBytes } from './keys.ts';
import { toBytes } from './masks.ts';
import * as messages from './messages.ts';
import {
  Refused,
  secureStages as order,
  signedBy,
  statement,
  type Message,
  type SecureSetup,
  type SecureStage,
} from './messages.ts';
import { applyOwnMask, applyPairMask, sealKey, seedHash } from './pair.ts';
import { requireParameters } from './parameters.ts';
import { SHARE_BYTES, split } from './shamir.ts';

export interface SecureClientOptions {
  readonly setup: SecureSetup;
  /** Its place in `setup.identities`. */
  readonly me: number;
  /** The private half of its identity (Ed25519). */
  readonly identity: Uint8Array;
  readonly random?: RandomBytes;
}

/** One client's side of one sum. Its methods are called in this order, each at most once; anything else is refused. */
export interface SecureClient {
  advert(): Message<'advert'>;
  /** Shares of both its secrets, sealed to each neighbour. */
  shares(directory: unknown): Message<'shares'>;
  /** `words` is the encoded vector (`encode`) and becomes the masked one. */
  masked(delivery: unknown, words: Uint32Array): Message<'masked'>;
  /** Its signature of who is in the sum. It signs once. */
  vouch(survivors: unknown): Message<'vouch'>;
  /** For each neighbour asked about its share of the seed (in the sum) or of the mask key (not in it), never both. */
  reveal(request: unknown): Message<'reveal'>;
}

interface Neighbour {
  readonly advert: Message<'advert'>;
  /** What it let this client keep: shares of its mask key and of its seed. */
  held?: { readonly key: Uint8Array; readonly seed: Uint8Array };
}

/**
 * A client of SecAgg+ (Bell et al. 2020, over Bonawitz et al. 2017) as a machine that is given messages and gives messages. What it
 * refuses (`Refused`) changes nothing; it holds its secrets for this sum only.
 */
export function secureClient({ setup, me, identity, random = randomBytes }: SecureClientOptions): SecureClient {
  const { parameters, bits } = setup;
  requireParameters(parameters);
  const { clients, threshold, least } = parameters;
  const context = messages.contextOf(setup);
  const schemas = messages.schemasFor(setup);
  const graph = neighbourGraph(clients, parameters.neighbours, setup.session);
  const mine = new Set(graph[me]);
  const newPair = (): KeyPair => keyPair('x25519', Uint8Array.from(random(32)));
  const [maskPair, sealPair] = [newPair(), newPair()];
  const seed = Uint8Array.from(random(32));
  const neighbours = new Map<number, Neighbour>();
  let members: Uint8Array | undefined;
  let done = 0;

  /** Its turn comes after all before it, and passes only when `act` has not refused. */
  function turn<T>(step: SecureStage, act: () => T): T {
    if (order[done] !== step)
      throw new Refused(done > order.indexOf(step) ? `“${step}” was already answered` : `“${step}” comes too early`);
    const result = act();
    done++;
    return result;
  }

  function requireNeighbours(count: number, what: string): void {
    if (count < threshold) throw new Refused(`only ${count} neighbours ${what}, and ${threshold} are needed`);
  }

  function known(advert: Message<'advert'>): Message<'advert'> {
    const { from, signature, maskKey } = advert;
    if (!mine.has(from)) throw new Refused(`client ${from} is no neighbour`);
    if (!signedBy(setup, from, messages.advertStatement(context, advert), signature))
      throw new Refused(`the keys of client ${from} are not signed by it for this sum`);
    usable(() => sharedSecret(maskPair.privateKey, maskKey));
    return advert;
  }

  const keyWith = ({ sealKey: theirs, from }: Message<'advert'>, sender: number): Uint8Array =>
    sealKey(context, [sealPair.privateKey, me], [theirs, from], sender);

  const about = (from: number, to: number): Uint8Array => statement('shares', context, from, to);

  return {
    advert: () =>
      turn('advert', () => {
        const keys = { maskKey: maskPair.publicKey, sealKey: sealPair.publicKey, seedHash: seedHash(context, seed) };
        const advert = { kind: 'advert', from: me, ...keys } as const;
        return { ...advert, signature: sign(identity, messages.advertStatement(context, advert)) };
      }),

    shares: (directory) =>
      turn('shares', () => {
        const adverts = messages.parsed(schemas.directory, directory).adverts.map(known);
        requireDifferent(adverts.map(({ from }) => from));
        requireNeighbours(adverts.length, 'sent keys');
        const points = adverts.map(({ from }) => from + 1);
        const [keyShares, seedShares] = [maskPair.privateKey, seed].map((secret) =>
          split(secret, threshold, points, random),
        );
        const boxes = adverts.map((advert, i) => {
          const content = new Uint8Array([...keyShares![i]!.y, ...seedShares![i]!.y]);
          return {
            to: advert.from,
            box: seal(
              usable(() => keyWith(advert, me)),
              content,
              about(me, advert.from),
            ),
          };
        });
        for (const advert of adverts) neighbours.set(advert.from, { advert });
        return { kind: 'shares', from: me, boxes };
      }),

    masked: (delivery, words) =>
      turn('masked', () => {
        const { boxes } = messages.parsed(schemas.delivery, delivery);
        requireDifferent(boxes.map(({ from }) => from));
        requireNeighbours(boxes.length, 'sent shares');
        const opened = boxes.map(({ from, box }) => {
          const neighbour = neighbours.get(from);
          if (neighbour === undefined) throw new Refused(`client ${from} sent shares but no keys`);
          const content = open(keyWith(neighbour.advert, from), box, about(from, me));
          if (content === undefined) throw new Refused(`the shares of client ${from} are not from it, or changed`);
          return [neighbour, content] as const;
        });
        if (words.length * 32 !== setup.length * bits) throw new Error(`the vector has ${words.length} words`);
        for (const [neighbour, content] of opened) {
          neighbour.held = { key: content.slice(0, SHARE_BYTES), seed: content.slice(SHARE_BYTES) };
          const { maskKey, from } = neighbour.advert;
          applyPairMask(words, context, [maskPair.privateKey, me], [maskKey, from], 'mask', bits);
        }
        applyOwnMask(words, context, seed, 'mask', bits);
        return { kind: 'masked', from: me, words: toBytes(words) };
      }),

    vouch: (survivors) =>
      turn('vouch', () => {
        const given = messages.parsed(schemas.survivors, survivors).members;
        const inSum = messages.membersOf(given, clients);
        if (inSum.length < least)
          throw new Refused(`a sum of ${inSum.length} clients tells too much: at least ${least} are needed`);
        if (!inSum.includes(me)) throw new Refused('this client’s own numbers are not in the sum');
        const stranger = inSum.find((i) => mine.has(i) && neighbours.get(i)?.held === undefined);
        if (stranger !== undefined) throw new Refused(`client ${stranger} cannot be in the sum: it shared no secrets`);
        members = Uint8Array.from(given);
        return { kind: 'vouch', from: me, signature: sign(identity, messages.survivorsStatement(context, members)) };
      }),

    reveal: (request) =>
      turn('reveal', () => {
        const { vouches, seeds, keys } = messages.parsed(schemas.request, request);
        requireDifferent(vouches.map(({ from }) => from));
        const inSum = new Set(messages.membersOf(members!, clients));
        const signed = messages.survivorsStatement(context, members!);
        for (const { from, signature } of vouches) {
          if (!inSum.has(from) || !signedBy(setup, from, signed, signature))
            throw new Refused(`client ${from} does not vouch for the same clients in the sum`);
        }
        if (vouches.length < least)
          throw new Refused(`${vouches.length} clients vouch for who is in the sum, and ${least} are needed`);
        requireDifferent([...seeds, ...keys]);
        const share = (of: number, what: 'seed' | 'key') => {
          const held = neighbours.get(of)?.held;
          if (held === undefined) throw new Refused(`no share of client ${of} is here`);
          if (inSum.has(of) !== (what === 'seed'))
            throw new Refused(`client ${of} is ${what === 'key' ? '' : 'not '}in the sum: its ${what} stays secret`);
          return { of, share: held[what] };
        };
        return {
          kind: 'reveal',
          from: me,
          seeds: seeds.map((of) => share(of, 'seed')),
          keys: keys.map((of) => share(of, 'key')),
        };
      }),
  };
}

function requireDifferent(clients: readonly number[]): void {
  const twice = clients.find((client, i) => clients.indexOf(client) < i);
  if (twice !== undefined) throw new Refused(`client ${twice} is named twice`);
}

/** A key that OpenSSL does not take (a point of small order) is the sender's doing. */
function usable<T>(make: () => T): T {
  try {
    return make();
  } catch (cause) {
    throw new Refused('a neighbour’s key gives no common secret', { cause });
  }
}
