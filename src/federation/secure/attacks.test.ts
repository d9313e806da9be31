import { randomBytes } from 'node:crypto';
import { beforeEach, describe, expect, test } from 'vitest';
import { plainSum, secureSetup, table, tenClients } from '../../../tests/support/secure.ts';
import { secureClient } from './client.ts';
import { keyPair, sign, verifies } from './keys.ts';
import { contextOf, memberBits, NOBODY, Refused, signedBy, survivorsStatement, type Message } from './messages.ts';
import { secureServer } from './server.ts';

let at: ReturnType<typeof table>;
beforeEach(() => {
  at = table();
});

const changed = (bytes: Uint8Array): Uint8Array => bytes.map((byte, i) => (i === 0 ? byte ^ 1 : byte));
const refused = (what: () => unknown, message: string): void => {
  expect(what).toThrow(message);
  expect(what).toThrow(Refused);
};

describe('the server refuses', () => {
  test('messages of another form, kind or size', () => {
    const advert = at.clients[0]!.advert();
    for (const wrong of [null, 7, 'advert', {}, { kind: 'sum', from: 0 }, { kind: 'shares', from: 0, boxes: [] }])
      refused(() => at.server.receive(wrong), 'it is the turn of “advert”');
    for (const wrong of [
      { ...advert, from: 10 },
      { ...advert, from: -1 },
      { ...advert, maskKey: advert.maskKey.slice(1) },
      { ...advert, more: 1 },
      { ...advert, sealKey: [...advert.sealKey] },
    ])
      refused(() => at.server.receive(wrong), 'not a message that fits');
    at.server.receive(advert);
  });

  test('keys that another signed, that were changed, or that are of another sum', () => {
    const [mine, other] = [at.clients[0]!.advert(), at.clients[1]!.advert()];
    const signed = 'not signed by it for this sum';
    refused(() => at.server.receive({ ...mine, signature: other.signature }), signed);
    refused(() => at.server.receive({ ...mine, maskKey: other.maskKey }), signed);
    refused(() => at.server.receive({ ...mine, seedHash: changed(mine.seedHash) }), signed);
    refused(() => at.server.receive({ ...other, from: 0 }), signed);
    // The same people, the next sum.
    const next = { ...at.setup, session: randomBytes(32) };
    refused(() => secureServer(next).receive(mine), signed);
    at.server.receive(mine);
  });

  test('a second message, one that comes late, and one of somebody who was not there before', () => {
    const advert = at.clients[0]!.advert();
    at.server.receive(advert);
    refused(() => at.server.receive(advert), 'client 0 has already sent its “advert”');
    for (const i of [1, 2, 3, 4, 5, 6, 7, 8]) at.server.receive(at.clients[i]!.advert());
    const directories = at.server.directories();
    expect(directories.has(9)).toBe(false);
    refused(() => at.server.receive(at.clients[9]!.advert()), 'it is the turn of “shares”');
    const shares = at.clients[0]!.shares(directories.get(0));
    at.server.receive(shares);
    refused(() => at.server.receive(shares), 'client 0 has already sent its “shares”');
  });

  test('the masked numbers of someone who did not share its secrets', () => {
    const deliveries = at.shared([9]);
    const masked = at.clients[0]!.masked(deliveries.get(0), at.vectors[0]!.slice());
    refused(() => at.server.receive({ ...masked, from: 9 }), 'client 9 has not been there since “shares”');
    refused(() => at.server.receive({ ...masked, words: masked.words.slice(8) }), 'expected 40 bytes');
    at.server.receive(masked);
    refused(() => at.server.receive(masked), 'has already sent');
  });

  test('secrets shared with others than it was told of', () => {
    const directories = at.advertised();
    const shares = at.clients[0]!.shares(directories.get(0));
    const others = { ...shares, boxes: shares.boxes.slice(1) };
    refused(() => at.server.receive(others), 'shares its secrets with others');
    const twice = [...shares.boxes.slice(1), shares.boxes[1]];
    refused(() => at.server.receive({ ...shares, boxes: twice }), 'shares its secrets with others');
    const more = [...shares.boxes, shares.boxes[0]];
    refused(() => at.server.receive({ ...shares, boxes: more }), 'boxes: Too big: expected array to have <=4 items');
    at.server.receive(shares);
  });

  test('a signature of other survivors, or of another client', () => {
    const survivors = at.masked([9]);
    const vouch = at.clients[0]!.vouch(survivors.get(0));
    const everybody = memberBits([0, 1, 2, 3, 4, 5, 6, 7, 8, 9], 10);
    const other = sign(at.identities[0]!.privateKey, survivorsStatement(contextOf(at.setup), everybody));
    refused(() => at.server.receive({ ...vouch, signature: other }), 'vouches for other clients');
    refused(() => at.server.receive({ ...vouch, from: 1 }), 'vouches for other clients');
    at.server.receive(vouch);
  });

  test('shares it did not ask for; wrong ones make no sum, and say whose they are', () => {
    const requests = at.vouched([9]);
    const reveals = [...requests].map(([i, request]) => at.clients[i]!.reveal(request));
    const [one] = reveals as [Message<'reveal'>];
    refused(() => at.server.receive({ ...one, seeds: one.seeds.slice(1) }), 'other shares than it was asked for');
    for (const reveal of reveals) {
      const seeds = reveal.seeds.map(({ of, share }) => ({ of, share: of === 4 ? changed(share) : share }));
      at.server.receive({ ...reveal, seeds });
    }
    expect(() => at.server.sum()).toThrow('shares of the seed of client 4 are wrong');
  });

  test('anything once the sum is there; which is right after all these refusals', () => {
    const requests = at.vouched([9]);
    for (const [i, request] of requests) at.server.receive(at.clients[i]!.reveal(request));
    expect(at.server.sum().words).toEqual(plainSum(at.vectors.slice(0, 9), 5, 64));
    refused(() => at.server.receive({ kind: 'reveal', from: 0, seeds: [], keys: [] }), 'the sum is over');
  });
});

describe('a setup', () => {
  test('in which two have one identity is refused; who has none has signed nothing', () => {
    const { setup } = secureSetup(tenClients);
    const [first, , ...rest] = setup.identities as [Uint8Array, Uint8Array, ...Uint8Array[]];
    refused(() => secureServer({ ...setup, identities: [first, first, ...rest] }), 'have one identity');
    // As a key this is a point of order 4: zeros are its signature of every fourth message.
    const statements = Array.from({ length: 64 }, (_, i) => Buffer.from(`survivors ${i}`));
    const zeros = new Uint8Array(64);
    expect(statements.some((statement) => verifies(NOBODY, statement, zeros))).toBe(true);
    expect(statements.some((statement) => signedBy({ identities: [NOBODY] }, 0, statement, zeros))).toBe(false);
    expect(() => secureServer({ ...setup, identities: [NOBODY, NOBODY, ...rest] })).not.toThrow();
  });
});

describe('a client refuses', () => {
  test('steps out of order, and each a second time', () => {
    const [client] = at.clients as [ReturnType<typeof secureClient>];
    refused(() => client.shares({}), '“shares” comes too early');
    client.advert();
    refused(() => client.advert(), '“advert” was already answered');
  });

  test('keys that are not of its neighbours, or not signed by them', () => {
    const directories = at.advertised();
    const directory = directories.get(0)!;
    const [one, ...rest] = directory.adverts as [Message<'advert'>, ...Message<'advert'>[]];
    const give = (adverts: unknown[]) => () => at.clients[0]!.shares({ kind: 'directory', adverts });
    refused(give([{ ...one, maskKey: changed(one.maskKey) }, ...rest]), 'not signed by it for this sum');
    refused(give([one, one, ...rest.slice(1)]), 'is named twice');
    refused(give([one, one, ...rest]), 'adverts: Too big: expected array to have <=4 items');
    refused(give(rest.slice(1)), 'only 2 neighbours sent keys, and 3 are needed');
    const named = new Set(directory.adverts.map(({ from }) => from));
    const stranger = [...directories.values()]
      .flatMap(({ adverts }) => adverts)
      .find(({ from }) => from !== 0 && !named.has(from));
    refused(give([stranger, ...rest]), 'is no neighbour');
    give([one, ...rest])();
  });

  test('a key that makes the common secret known to all, though signed', () => {
    const directories = at.advertised();
    const { adverts } = directories.get(0)!;
    const liar = adverts[0]!.from;
    const context = contextOf(at.setup);
    for (const key of ['maskKey', 'sealKey'] as const) {
      const { signature: _, ...fields } = { ...adverts[0]!, [key]: new Uint8Array(32) };
      const parts = [Buffer.from('advert\n'), context, Buffer.from(Uint32Array.of(liar).buffer)];
      const statement = Buffer.concat([...parts, fields.maskKey, fields.sealKey, fields.seedHash]);
      const signature = sign(at.identities[liar]!.privateKey, statement);
      const directory = { kind: 'directory', adverts: [{ ...fields, signature }, ...adverts.slice(1)] };
      refused(() => at.clients[0]!.shares(directory), 'gives no common secret');
    }
  });

  test('shares that were changed, swapped, or are of a stranger', () => {
    const deliveries = at.shared();
    const { boxes } = deliveries.get(0)!;
    const give = (other: unknown[]) => () =>
      at.clients[0]!.masked({ kind: 'delivery', boxes: other }, at.vectors[0]!.slice());
    const [a, b, ...rest] = boxes as [(typeof boxes)[0], (typeof boxes)[0]];
    refused(give([{ ...a, box: changed(a.box) }, b, ...rest]), `the shares of client ${a.from} are not from it`);
    refused(give([{ ...a, box: b.box }, b, ...rest]), `the shares of client ${a.from} are not from it`);
    refused(give([a, a, ...rest]), 'named twice');
    refused(give([a, b]), 'only 2 neighbours sent shares');
    refused(give([{ ...a, from: 0 }, b, ...rest]), 'client 0 sent shares but no keys');
    // Its own box back to it, as if a neighbour had sent it.
    give([a, b, ...rest])();
  });

  test('a set of survivors without itself, too small, with someone who shared nothing; and a second set', () => {
    const deliveries = at.shared([9]);
    for (const [i, delivery] of deliveries) at.server.receive(at.clients[i]!.masked(delivery, at.vectors[i]!.slice()));
    const neighbour = [...at.server.survivors().keys()].find((i) => at.clients[i] && neighboursOf(i).includes(9))!;
    const vouch = (members: number[]) => () =>
      at.clients[neighbour]!.vouch({ kind: 'survivors', members: memberBits(members, 10) });
    const all = [0, 1, 2, 3, 4, 5, 6, 7, 8];
    refused(vouch(all.slice(0, 5)), 'a sum of 5 clients tells too much: at least 6 are needed');
    refused(vouch(all.filter((i) => i !== neighbour)), 'own numbers are not in the sum');
    refused(vouch([...all, 9]), 'client 9 cannot be in the sum');
    refused(
      () => at.clients[neighbour]!.vouch({ kind: 'survivors', members: Uint8Array.of(255, 255) }),
      'no client 10',
    );
    vouch(all)();
    refused(vouch(all.slice(0, 8)), '“vouch” was already answered');

    function neighboursOf(i: number): number[] {
      return deliveries.get(i)!.boxes.length < 4 ? [9] : [];
    }
  });

  test('to tell both shares of a client, the wrong one, or any without enough signatures', () => {
    const requests = at.vouched([9]);
    const [i, request] = [...requests].find(([, { keys }]) => keys.length === 1)!;
    const reveal = (more: Partial<Message<'request'>>) => () => at.clients[i]!.reveal({ ...request, ...more });
    const [inSum] = request.seeds as [number];
    refused(reveal({ keys: [9, inSum] }), `client ${inSum} is named twice`);
    refused(reveal({ seeds: [...request.seeds, 9] }), 'client 9 is named twice');
    refused(reveal({ seeds: [], keys: [inSum] }), `client ${inSum} is in the sum: its key stays secret`);
    refused(reveal({ seeds: [9], keys: [] }), 'client 9 is not in the sum: its seed stays secret');
    refused(
      reveal({ vouches: request.vouches.slice(0, 5) }),
      '5 clients vouch for who is in the sum, and 6 are needed',
    );
    const twice = [...request.vouches.slice(0, 5), request.vouches[0]!];
    refused(reveal({ vouches: twice }), 'is named twice');
    const forged = request.vouches.map((vouch, j) =>
      j === 0 ? { ...vouch, signature: changed(vouch.signature) } : vouch,
    );
    refused(reveal({ vouches: forged }), 'does not vouch for the same clients');
    reveal({})();
    // Asked again for the other share, having told one.
    refused(reveal({ seeds: [9], keys: [] }), '“reveal” was already answered');
  });
});

test('a server that tells clients of different survivors finds no set with enough signatures', () => {
  const deliveries = at.shared();
  for (const [i, delivery] of deliveries) at.server.receive(at.clients[i]!.masked(delivery, at.vectors[i]!.slice()));
  at.server.survivors();
  // Half are told that client 9 is in the sum, half that it left: with both, it would have both its shares.
  const all = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9];
  const [withIt, without] = [memberBits(all, 10), memberBits(all.slice(0, 9), 10)];
  const told = (i: number): Uint8Array => (i % 2 === 0 && i !== 9 ? without : withIt);
  const vouches = all.map((i) => at.clients[i]!.vouch({ kind: 'survivors', members: told(i) }));
  const signatures = (of: Uint8Array) =>
    all.filter((i) => told(i) === of).map((from) => ({ from, signature: vouches[from]!.signature }));
  expect([signatures(withIt).length, signatures(without).length]).toEqual([5, 5]);
  const request = (vouched: unknown, seeds: number[], keys: number[]) => ({
    kind: 'request',
    vouches: vouched,
    seeds,
    keys,
  });
  for (const i of all) {
    // What fits what it was told is not enough; what is enough does not fit.
    refused(() => at.clients[i]!.reveal(request(signatures(told(i)), [], [])), '5 clients vouch');
    const mixed = [...signatures(withIt), ...signatures(without)];
    refused(() => at.clients[i]!.reveal(request(mixed, [], [])), 'does not vouch for the same clients');
  }
});

test('who signs with another key than its identity’s is refused by all', () => {
  const stranger = keyPair('ed25519', randomBytes(32));
  const imposter = secureClient({ setup: at.setup, me: 0, identity: stranger.privateKey });
  refused(() => at.server.receive(imposter.advert()), 'not signed by it');
});
