import { randomBytes } from 'node:crypto';
import { readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { collect } from '../../../../tests/support/collect.ts';
import { journalIn } from '../../../../tests/support/federation.ts';
import { temporaryFolder } from '../../../../tests/support/temporary.ts';
import { tensor } from '../../../tensor/tensors.ts';
import type { Participant, Task } from '../../participant.ts';
import { defaultSecureSettings as settings } from '../../secure/combiner.ts';
import { keyPair } from '../../secure/keys.ts';
import { Refused, secureStages, type SecureStage } from '../../secure/messages.ts';
import { secureParameters } from '../../secure/parameters.ts';
import { secureServer, type SecureServer } from '../../secure/server.ts';
import { sumVector, vectorLength } from '../../secure/vector.ts';
import { fromWire, toWire } from '../../secure/wire.ts';
import { sumParty, type SumStage } from '../client/sums.ts';
import { toPayload } from '../payload.ts';
import { noTotals } from '../protocol.ts';
import { openBlobs } from './blobs.ts';
import { ownParty, type OwnParty } from './own-party.ts';
import { openStore } from './store.ts';

const root = temporaryFolder();
const update = new Map([['a', tensor([2], [0.5, -0.25])]]);
const length = vectorLength(update);
const place = { method: 'm', stage: 's', stageIndex: 0 };
const task = { ...place, round: 0, client: 'proxy', kept: true } as Task;
const working: Participant = {
  async *perform() {
    yield { step: 1, steps: 1, loss: 0.5, tokens: 4, processed: 6 };
    return { update, weight: 3, seconds: 1 };
  },
};
const bytes = (value: unknown): Uint8Array => Buffer.from(JSON.stringify(value));

let folders = 0;
/** A life of a server in its folder. */
async function life(folder = join(root, `own-${folders++}`)) {
  const blobs = await openBlobs(join(folder, 'payloads'));
  const journal = journalIn(folder, 'journal.sqlite');
  const store = openStore(join(folder, 'server.sqlite'), journal);
  const trained = new Map<string, string>();
  const own = ownParty({ run: 'r', settings, store, blobs, trained });
  const perform = () => collect(own.keeping(working).perform(task, new AbortController().signal));
  const end = (): void => {
    store.close();
    journal.close();
  };
  return { folder, own, blobs, trained, perform, end };
}

/** Three clients. */
const path = join(root, 'update');
writeFileSync(path, toPayload(update));
const others = (server: string) =>
  [1, 2, 3].map((weight) => {
    const identity = keyPair('ed25519', new Uint8Array(randomBytes(32)));
    const totals = { tokens: 1, processed: 1, lossSum: 1 };
    const kept = { digest: 'd', weight, totals };
    const message = { digest: null, weight: null, seconds: 0, totals: noTotals };
    const party = sumParty({
      identity,
      settings,
      server,
      state: {
        undecided: () => [{ id: 'c', place, round: 0, message, kept }],
        payload: async () => ({ path, size: 0 }),
        enter: () => true,
        signed: () => undefined,
        sign: () => undefined,
        pledge: () => true,
      },
    });
    return { key: identity.publicKey, party };
  });

/** A sum of three clients and the server's own, up to a stage; gives what the server's own has said. */
async function sum(own: OwnParty, last: SecureStage, work: string) {
  const clients = others(own.identity);
  const random = new Uint8Array(randomBytes(32));
  const identities = [...clients.map(({ key }) => key), new Uint8Array(Buffer.from(own.identity, 'base64url'))];
  const parameters = secureParameters(4, { ...settings, server: true });
  const server = secureServer({ session: random, parameters, identities, bits: settings.bits, length });
  const setup = { identities: toWire(identities), length };
  const opening: Record<SecureStage, (from: SecureServer) => ReadonlyMap<number, unknown>> = {
    advert: () => new Map(identities.map((_, i) => [i, setup])),
    shares: (from) => from.directories(),
    masked: (from) => from.deliveries(),
    vouch: (from) => from.survivors(),
    reveal: (from) => from.requests(),
  };
  const said: unknown[] = [];
  const asked = (stage: SecureStage, mine: string): SumStage => ({
    id: '',
    stage,
    session: Buffer.from(random).toString('hex'),
    work: mine,
  });
  for (const stage of secureStages.slice(0, secureStages.indexOf(last) + 1)) {
    for (const [i, content] of opening[stage](server)) {
      const message = bytes(stage === 'advert' ? content : toWire(content));
      if (i === 3) said.push(await own.answer(asked(stage, work), message));
      const answer = i === 3 ? said.at(-1) : await told(clients[i]!.party, asked(stage, 'c'), message);
      server.receive(answer);
    }
  }
  return { server, said, asked };
}

async function told(party: ReturnType<typeof sumParty>, task: SumStage, message: Uint8Array): Promise<unknown> {
  const { answer, upload } = await party.answer(task, message);
  return answer.kind === 'masked' ? { kind: 'masked', from: answer.from, words: upload } : fromWire(answer);
}

test('what the server made is under masks like a client’s, its totals inside; the engine has its progress alone', async () => {
  const { own, trained, perform, blobs, end } = await life();
  expect(await perform()).toEqual({
    yielded: [{ step: 1, steps: 1, loss: 0.5, tokens: 4, processed: 6 }],
    result: { update: new Map(), weight: 0, seconds: 1 },
  });
  const { server, said } = await sum(own, 'reveal', trained.get('proxy')!);
  const vector = sumVector(update, 4, settings);
  const plain = vector.encode({ update, weight: 3, totals: { tokens: 4, processed: 6, lossSum: 2 } });
  const [, , masked] = said as { words: Uint8Array }[];
  expect(masked!.words).toHaveLength(plain.byteLength);
  expect(Buffer.compare(masked!.words, Buffer.from(plain.buffer))).not.toBe(0);
  const { words, members } = server.sum();
  expect(members).toEqual([0, 1, 2, 3]);
  expect(vector.decode(words)).toEqual({
    sum: new Map([['a', tensor([2], [9 * 0.5, 9 * -0.25])]]),
    weight: 9,
    totals: { tokens: 7, processed: 9, lossSum: 5 },
  });
  expect((await blobs.kept()).files).toBe(1);
  await own.committed();
  expect((await blobs.kept()).files).toBe(0);
  end();
});

test('its identity and what it has signed outlive the server: a sum of the same update with others it does not sign', async () => {
  const first = await life();
  await first.perform();
  await sum(first.own, 'vouch', first.trained.get('proxy')!);
  first.end();
  const again = await life(first.folder);
  expect(again.own.identity).toBe(first.own.identity);
  // The secrets of its sums died with it, and its work is done again.
  const id = first.trained.get('proxy')!;
  await expect(sum(again.own, 'advert', id)).rejects.toThrow('no finished update of this round is kept here');
  await again.perform();
  expect(again.trained.get('proxy')).toBe(id);
  // Other clients than before, whatever the server says.
  await expect(sum(again.own, 'vouch', id)).rejects.toThrow(
    new Refused('this client signed a sum of this update with other clients: two would tell of single ones'),
  );
  again.end();
});

test('an update that the disk has lost or changed is no part of a sum', async () => {
  const { own, trained, perform, blobs, folder, end } = await life();
  await perform();
  for (const digest of readdirSync(join(folder, 'payloads'))) writeFileSync(blobs.path(digest), 'something else');
  await expect(sum(own, 'advert', trained.get('proxy')!)).rejects.toThrow('the finished update was lost');
  end();
});

test('work of stages without a secure sum passes as it is, and what a sum cannot carry fails with the reason', async () => {
  const { own, end } = await life();
  const { signal } = new AbortController();
  const { kept: _, ...plain } = task;
  expect((await collect(own.keeping(working).perform(plain, signal))).result).toEqual({
    update,
    weight: 3,
    seconds: 1,
  });
  const heavy: Participant = {
    async *perform(...args) {
      return { ...(yield* working.perform(...args)), weight: 2 ** 21 };
    },
  };
  await expect(collect(own.keeping(heavy).perform(task, signal))).rejects.toThrow(
    'the weight of its update is not above 0 and at most 1048576',
  );
  end();
});
