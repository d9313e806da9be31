import { randomBytes } from 'node:crypto';
import { statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { temporaryFolder } from '../../../../tests/support/temporary.ts';
import type { Tensors } from '../../../tensor/tensor.ts';
import { tensor } from '../../../tensor/tensors.ts';
import { defaultSecureSettings as settings } from '../../secure/combiner.ts';
import { keyPair, type KeyPair } from '../../secure/keys.ts';
import { NOBODY, Refused, secureStages, type SecureStage } from '../../secure/messages.ts';
import { secureParameters } from '../../secure/parameters.ts';
import { secureServer, type SecureServer } from '../../secure/server.ts';
import { sumVector, vectorLength } from '../../secure/vector.ts';
import { wordsOfSeed } from '../../secure/noise.ts';
import { fromWire, toWire } from '../../secure/wire.ts';
import { toPayload } from '../payload.ts';
import type { SumMessage } from '../protocol.ts';
import type { Undecided } from './state.ts';
import { sumParty, type SumParty } from './sums.ts';

const update: Tensors = new Map([
  ['b', tensor([2], [0.5, -0.25])],
  ['a', tensor([1, 2], [1, 2])],
]);
const length = vectorLength(update);
const place = { method: 'm', stage: 's', stageIndex: 0 };
const totals = { tokens: 7, processed: 9, lossSum: 1.5 };
const message = {
  digest: null,
  weight: null,
  seconds: 0,
  totals: { step: 0, steps: 0, tokens: 0, processed: 0, lossSum: 0 },
};
const work: Undecided = { id: '1'.repeat(32), place, round: 0, message, kept: { digest: 'd', weight: 3, totals } };

const path = join(temporaryFolder(), 'update');
writeFileSync(path, toPayload(update));

/** What a client keeps over its lives. */
function disk(done: readonly Undecided[] = [work]) {
  const entered = new Set<string>();
  const sets = new Map<string, string>();
  const pledges = new Map<string, string>();
  return {
    undecided: () => done,
    payload: async () => ({ path, size: statSync(path).size }),
    enter: (session: string) => !entered.has(session) && entered.add(session).size > 0,
    signed: (id: string) => sets.get(id),
    sign: (id: string, members: string) => void sets.set(id, members),
    pledge({ method, stageIndex }: Undecided['place'], round: number, digest: string) {
      const name = JSON.stringify([method, stageIndex, round]);
      if (!pledges.has(name)) pledges.set(name, digest);
      return pledges.get(name) === digest;
    },
  };
}
const identity = (): KeyPair => keyPair('ed25519', new Uint8Array(randomBytes(32)));
const bytes = (value: unknown): Uint8Array => Buffer.from(JSON.stringify(value));
const encoded = (key: Uint8Array): string => Buffer.from(key).toString('base64url');

interface Client {
  readonly own: KeyPair;
  readonly state: ReturnType<typeof disk>;
  party: SumParty;
}
const client = (): Client => {
  const [own, state] = [identity(), disk()];
  return { own, state, party: sumParty({ identity: own, settings, state }) };
};
const reborn = ({ own, state }: Client): SumParty => sumParty({ identity: own, settings, state });

/** A sum among clients, of which those `gone` never come. */
function sum(clients: readonly Client[], gone: readonly number[] = [], trained = work.id, own = false) {
  const random = new Uint8Array(randomBytes(32));
  const session = Buffer.from(random).toString('hex');
  const identities = clients.map(({ own }) => own.publicKey);
  const parameters = secureParameters(clients.length, { ...settings, server: own });
  const server = secureServer({ session: random, parameters, identities, bits: 64, length });
  const setup = { identities: identities.map(encoded), length };
  const task = (stage: SecureStage): SumMessage =>
    ({
      kind: 'sum',
      id: '2'.repeat(32),
      place,
      round: 0,
      work: trained,
      session,
      stage,
      message: { digest: 'd', size: 1 },
    }) as const;
  const opening: Record<SecureStage, (from: SecureServer) => ReadonlyMap<number, unknown>> = {
    advert: () => new Map(clients.flatMap((_, i) => (gone.includes(i) ? [] : [[i, setup]]))),
    shares: (from) => from.directories(),
    masked: (from) => from.deliveries(),
    vouch: (from) => from.survivors(),
    reveal: (from) => from.requests(),
  };
  return {
    server,
    setup,
    task,
    async upTo(last: SecureStage): Promise<void> {
      for (const stage of secureStages.slice(0, secureStages.indexOf(last) + 1)) {
        for (const [i, content] of opening[stage](server)) {
          const { answer, upload } = await clients[i]!.party.answer(task(stage), bytes(toWire(content)));
          const { digest: _, ...rest } = answer as { digest?: string };
          server.receive(upload ? { ...rest, words: upload } : fromWire(rest));
        }
      }
    },
  };
}

test('what a client adds is its weight, its totals and the weighted update, by the names of tensors', async () => {
  const clients = [client(), client(), client(), client()];
  const at = sum(clients);
  await at.upTo('reveal');
  const { words, members } = at.server.sum();
  expect(members).toEqual([0, 1, 2, 3]);
  const got = sumVector(new Map([...update].reverse()), 4, settings).decode(words);
  expect(got.weight).toBe(12);
  expect(got.totals).toEqual({ tokens: 28, processed: 36, lossSum: 6 });
  expect([...got.sum].map(([name, { data }]) => [name, [...data]])).toEqual([
    ['a', [12, 24]],
    ['b', [6, -3]],
  ]);
});

describe('noise of a client’s own', () => {
  const noise = { noise: 1, bound: 3, updates: 1, seed: Buffer.alloc(32, 7).toString('base64url') };
  const noised = { ...work, kept: { digest: 'd', weight: 1, totals, noise } };
  const clients = (): readonly Client[] =>
    [1, 2, 3, 4].map(() => {
      const [own, state] = [identity(), disk([noised])];
      return { own, state, party: sumParty({ identity: own, settings, state }) };
    });

  test('is in its vector, the same in every sum of the round, in this life and the next', async () => {
    const four = clients();
    const first = sum(four);
    await first.upTo('reveal');
    for (const one of four) one.party = reborn(one);
    const again = sum(four);
    await again.upTo('reveal');
    const { words } = first.server.sum();
    expect(again.server.sum().words).toEqual(words);
    // Four times the same update and, by one seed, the same noise.
    const vector = sumVector(update, 4, settings, noise);
    const { sum: decoded, weight } = vector.decode(words);
    expect(weight).toBe(4);
    const own = vector.decode(
      vector.encode({ update, weight: 1, totals }, wordsOfSeed(new Uint8Array(32).fill(7))),
    ).sum;
    for (const [name, { data }] of own) expect([...decoded.get(name)!.data]).toEqual([...data].map((x) => 4 * x));
    expect(own.get('a')!.data[0]).not.toBeCloseTo(1, 3);
  });

  test.each<[string, { byte?: number; bound?: number; id?: string }]>([
    ['a new draw', { byte: 8 }],
    ['another bound', { bound: 4 }],
    ['new work, as for another broadcast', { byte: 8, id: '3'.repeat(32) }],
  ])('goes into the sums of a round once: %s is refused', async (_, { byte = 7, bound = 3, id = work.id }) => {
    const four = clients();
    await sum(four).upTo('masked');
    const own = { ...noise, bound, seed: Buffer.alloc(32, byte).toString('base64url') };
    const other = { ...noised, id, kept: { ...noised.kept, noise: own } };
    for (const one of four)
      one.party = sumParty({ identity: one.own, settings, state: { ...one.state, undecided: () => [other] } });
    await expect(sum(four, [], id).upTo('masked')).rejects.toThrow('was given to a sum of this round before');
  });
});

describe('a client refuses', () => {
  test('a session in which it has been, in this life or an earlier one', async () => {
    const clients = [client(), client(), client()];
    const [one] = clients as [Client];
    const at = sum(clients);
    const begin = (party: SumParty) => party.answer(at.task('advert'), bytes(at.setup));
    await begin(one.party);
    await expect(begin(one.party)).rejects.toThrow(new Refused('this client has been in this very sum before'));
    await expect(begin(reborn(one))).rejects.toThrow('has been in this very sum before');
    // Nor does it go on with one whose secrets it does not have.
    await expect(reborn(one).answer(at.task('vouch'), bytes({}))).rejects.toThrow('its secrets are gone');
  });

  test('a sum without it, with strangers, of another length, or of work that it does not have', async () => {
    const clients = [client(), client(), client()];
    const [one, two, three] = clients as [Client, Client, Client];
    const at = sum(clients);
    const begin = (setup: object, party = one.party) => party.answer(at.task('advert'), bytes(setup));
    const { identities } = at.setup;
    await expect(begin(at.setup, client().party)).rejects.toThrow('identity is not among those of the sum');
    await expect(begin({ identities: [identities[0], identities[1], identities[1]], length })).rejects.toThrow(
      'have one identity',
    );
    await expect(begin({ identities, length: 9 })).rejects.toThrow(
      `the sum is of 9 numbers, and this client has ${length}`,
    );
    await expect(begin({ identities: identities.slice(1), length })).rejects.toThrow();
    await expect(begin({ ...at.setup, threshold: 1 })).rejects.toThrow();
    const pinned = new Set([one, two].map(({ own }) => encoded(own.publicKey)));
    const careful = sumParty({ identity: one.own, settings, state: one.state, pinned });
    const stranger = encoded(three.own.publicKey);
    await expect(begin(at.setup, careful)).rejects.toThrow(`the identity ${stranger} is not among those`);
    // Who has no identity is no stranger.
    await careful.answer(
      at.task('advert'),
      bytes({ identities: [...identities.slice(0, 2), encoded(NOBODY)], length }),
    );
    const idle = sumParty({ identity: one.own, settings, state: disk([]) });
    await expect(begin(at.setup, idle)).rejects.toThrow('no finished update of this round is kept here');
  });

  test('parameters as if the server’s own rows hid anything from it; they are no stranger to who has a list', async () => {
    const clients = [client(), client(), client(), client()];
    const keys = clients.map(({ own }) => encoded(own.publicKey));
    const [pinned, server] = [new Set(keys.slice(0, 3)), keys[3]!];
    for (const one of clients) one.party = sumParty({ identity: one.own, settings, state: one.state, pinned, server });
    await expect(sum(clients).upTo('advert')).rejects.toThrow('are not signed by it for this sum');
    const at = sum(clients, [], work.id, true);
    await at.upTo('reveal');
    expect(at.server.sum().members).toEqual([0, 1, 2, 3]);
    // All clients have to be in it: of fewer the server would take its own away.
    const few = sum(clients, [0], work.id, true);
    await expect(few.upTo('shares')).rejects.toThrow('3 of 4 clients are left after “advert”, and 4 are needed');
  });

  // A signature is enough: whoever has it needs the shares of a few others only.
  test.each(['vouch', 'reveal'] as const)(
    'sums of one update with other clients after “%s”, not with the same',
    async (last) => {
      const clients = [client(), client(), client(), client()];
      await sum(clients).upTo(last);
      for (const one of clients) one.party = reborn(one);
      await expect(sum(clients, [3]).upTo('vouch')).rejects.toThrow('signed a sum of this update with other clients');
      const again = sum(clients);
      await again.upTo('reveal');
      expect(again.server.sum().members).toHaveLength(4);
    },
  );

  test('a second signature in a session', async () => {
    const clients = [client(), client(), client()];
    const at = sum(clients);
    await at.upTo('vouch');
    const members = toWire({ kind: 'survivors', members: Uint8Array.of(7) });
    await expect(clients[0]!.party.answer(at.task('vouch'), bytes(members))).rejects.toThrow(
      '“vouch” was already answered',
    );
  });
});
