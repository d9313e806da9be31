import { randomBytes } from 'node:crypto';
import { expect, test } from 'vitest';
import { finished, initial, layout } from '../../../tests/support/federation.ts';
import { fixed, placed, privacy } from '../../../tests/support/guards.ts';
import { all, hex, isSum, sessions } from '../../../tests/support/secure-sums.ts';
import { described, federationTools, rounds, workerOf } from '../../../tests/support/served.ts';
import { averaging, local } from '../../../tests/support/stages.ts';
import { readTensors } from '../../formats/files/safetensors.ts';
import { rdpEpsilon } from '../../guard/accountant/rdp.ts';
import { guarded } from '../../guard/guarded.ts';
import type { Guards } from '../../guard/guards.ts';
import type { CombinedSum, Stage } from '../../methods/stage.ts';
import type { Tensors } from '../../tensor/tensor.ts';
import { norm } from '../../tensor/tensors.ts';
import { defaultSecureSettings as secure } from '../secure/combiner.ts';
import { keyPair, type KeyPair } from '../secure/keys.ts';
import { addWords } from '../secure/masks.ts';
import { wordsOfSeed } from '../secure/noise.ts';
import { sumVector } from '../secure/vector.ts';
import { openApi } from './client/api.ts';
import type { Undecided } from './client/state.ts';
import { sumParty } from './client/sums.ts';
import type { TrainMessage } from './protocol.ts';
import { takePart, type TakingPart } from './client/take-part.ts';

const tools = federationTools();
const description = { ...described, clients: 7, config: { combine: 'secure', guards: [{ use: 'privacy' }] } };
const guards: Guards = { clip: fixed, privacy: { ...privacy, noise: 0.05 } };
const at = (stageIndex: number) => placed({ distributed: true, expected: 7, stageIndex, normal: () => expect.fail() });
const place = { method: 'method', stage: 'federated', stageIndex: 0 };

/** What a client keeps for its sums, by round. */
type Kept = Map<string, { readonly kept: NonNullable<Undecided['kept']>; readonly update: Tensors }>;

interface Client {
  readonly key: string;
  readonly identity: KeyPair;
  readonly kept: Kept;
  readonly events: TakingPart[];
}

async function joined(served: Awaited<ReturnType<typeof tools.serve>>): Promise<ReadonlyMap<string, Client>> {
  const clients = new Map<string, Client>();
  for (const name of all) {
    const identity = keyPair('ed25519', new Uint8Array(randomBytes(32)));
    const { key } = await tools.joined(served.server, name, served.server.url, identity);
    clients.set(name, { key, identity, kept: new Map(), events: [] });
  }
  return clients;
}

/** One life of a client; it ends early where `until` says so. */
async function lives(
  {
    server,
    folder,
    stages,
  }: { server: Awaited<ReturnType<typeof tools.serve>>['server']; folder: string; stages: readonly Stage[] },
  name: string,
  { key, identity, kept, events }: Client,
  { signal = tools.signal, until = () => false }: { signal?: AbortSignal; until?: (event: TakingPart) => boolean } = {},
): Promise<void> {
  const state = await tools.state(server, folder, name);
  const api = openApi({ url: server.url, key, patience: 30, signal });
  const sums = sumParty({ identity, settings: secure, state });
  const worker = { ...workerOf(name, stages), silent: true };
  const part = takePart({ api, state, worker, signal, beat: 0.05, sums });
  try {
    for (;;) {
      const next = await part.next();
      if (next.done) return;
      events.push(next.value);
      for (const work of state.undecided()) {
        if (work.kept === undefined || kept.has(work.id)) continue;
        kept.set(work.id, { kept: work.kept, update: await readTensors((await state.payload(work))!.path) });
      }
      if (until(next.value)) return;
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  } finally {
    await part.return({ how: 'stopped', why: '' });
    state.close();
  }
}

/** Σ (update + noise) of a round, from what the clients kept. */
function expected(clients: ReadonlyMap<string, Client>, round: number): Tensors {
  const [first, ...rest] = all.map((name) => {
    const { kept, update } = [...clients.get(name)!.kept.values()][round]!;
    const { noise, ...addend } = kept;
    expect(norm(update)).toBeLessThanOrEqual(fixed.norm);
    expect(noise).toMatchObject({ noise: 0.05, bound: fixed.norm, updates: 0.05 });
    const vector = sumVector(update, 7, secure, noise);
    const source = wordsOfSeed(new Uint8Array(Buffer.from(noise!.seed, 'base64url')));
    return { vector, words: vector.encode({ update, ...addend }, source) };
  });
  for (const { words } of rest) addWords(first!.words, words, 64);
  return first!.vector.decode(first!.words).sum;
}

test('clients add their noise before the masks: the server has Σ (clipped + noise), and nothing else of anyone', async () => {
  const stages: Stage[] = [
    guarded(averaging(layout, { rounds: 2, steps: 2 }), guards, at(0)),
    guarded(local(layout, { steps: 1 }), guards, at(1)),
  ];
  const folder = tools.folder();
  const served = await tools.serve(folder, { clients: all, description });
  const { server, journal } = served;
  const clients = await joined(served);
  const taking = all.map((name) => lives({ server, folder, stages }, name, clients.get(name)!));
  const { result, events } = await finished(rounds(served, { stages, clients: all, secure }));
  await server.end({ how: 'finished', why: '' }, 10);
  await Promise.all(taking);

  const [stage] = result.stages;
  const cost = (steps: number): number => rdpEpsilon([{ noise: 0.05, rate: 1, steps }], 1e-5).epsilon;
  expect(stage!.rounds.map((round) => round.privacy)).toEqual(
    [1, 2].map((steps) => ({
      noise: 0.05,
      rate: 1,
      bound: fixed.norm,
      delta: 1e-5,
      epsilon: cost(steps),
      honest: 3,
    })),
  );
  // In the journal is the last round's.
  expect(journal.released(place, 1)!.combined).toEqual({
    kind: 'sum',
    sum: expected(clients, 1),
    weight: 7,
    clients: 7,
  });
  for (const round of [0, 1]) {
    for (const { kept } of clients.values()) {
      const seeds = [...kept.values()].map((one) => one.kept.noise!.seed);
      expect(new Set(seeds).size).toBe(2);
    }
    expect(stage!.rounds[round]).toMatchObject({ participants: all, leftOut: [], tokens: 0, trainLoss: null });
  }
  expect(events.filter(({ kind }) => kind === 'progress')).toEqual([]);
  expect(server.store.clients().map(({ data }) => data)).toEqual(all.map(() => null));
  for (const name of all) {
    const told = journal.clients(place, 0).find(({ client }) => client === name);
    expect(told).toMatchObject({ tokens: 0, processed: 0, loss: null });
    const { kept } = clients.get(name)!;
    expect([...kept.values()].map(({ kept: one }) => [one.weight, one.totals])).toEqual(
      [1, 2].map(() => [1, { tokens: 0, processed: 0, lossSum: 0 }]),
    );
  }
});

test('a client works in no more rounds than the plan has', () => {
  const stages: Stage[] = [guarded(averaging(layout, { rounds: 2, steps: 2 }), guards, at(0))];
  const worker = workerOf(all[0]!, stages);
  const asked = (round: number) =>
    worker.train({ place, round, draw: round } as TrainMessage, initial.factors, undefined, tools.signal);
  expect(() => asked(1)).not.toThrow();
  expect(() => asked(2)).toThrow('stage “federated” of “method” has 2 round(s), and not 3');
});

test.each(['masked', 'reveal'] as const)(
  'all killed at “%s”: the sum that is begun anew has the same noise, and no second draw is added',
  async (stop) => {
    const stages: Stage[] = [guarded(averaging(layout, { rounds: 1, steps: 1 }), guards, at(0))];
    const folder = tools.folder();
    const served = await tools.serve(folder, { clients: all, description });
    const clients = await joined(served);
    const control = new AbortController();
    const { signal } = control;
    const going = finished(rounds(served, { stages, clients: all, secure, signal })).catch((error: unknown) => error);
    const first = all.map((name) =>
      lives({ server: served.server, folder, stages }, name, clients.get(name)!, {
        signal,
        until(event) {
          if (isSum(stop)(event)) control.abort();
          return signal.aborted;
        },
      }),
    );
    await Promise.all([going, ...first]);
    await served.close();
    const before = expected(clients, 0);

    const again = await tools.serve(folder, { clients: all, description });
    const { server } = again;
    const second = all.map((name) => lives({ server, folder, stages }, name, clients.get(name)!));
    const { result } = await finished(rounds(again, { stages, clients: all, secure }));
    await server.end({ how: 'finished', why: '' }, 10);
    await Promise.all(second);
    expect(result.stages[0]!.rounds).toHaveLength(1);
    const combined: CombinedSum = { kind: 'sum', sum: before, weight: 7, clients: 7 };
    expect(again.journal.released(place, 0)!.combined).toEqual(combined);
    const start = stages[0]!.start({ adapter: { layout, factors: initial.factors }, before: undefined, clients: all });
    expect(hex(result.stages[0]!.shared)).toBe(hex(stages[0]!.apply(start, combined, 0)));
    expect(sessions([...clients.values()].flatMap(({ events }) => events)).size).toBe(2);
    for (const { kept } of clients.values()) expect(kept.size).toBe(1);
  },
);
