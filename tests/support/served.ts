import { randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, expect } from 'vitest';
import type { MethodResult, RoundSettings, RunEvent } from '../../src/federation/events.ts';
import { openApi, type Api } from '../../src/federation/http/client/api.ts';
import { openClientState, type ClientState } from '../../src/federation/http/client/state.ts';
import { takePart, type TakePart, type TakingPart, type Worker } from '../../src/federation/http/client/take-part.ts';
import { sumParty, type SumParty } from '../../src/federation/http/client/sums.ts';
import { PROTOCOL, tellsNothing, type TrainMessage } from '../../src/federation/http/protocol.ts';
import type { Offer } from '../../src/federation/http/server/desk.ts';
import { newSecret } from '../../src/federation/http/server/keys.ts';
import { listen, type Listener } from '../../src/federation/http/server/listener.ts';
import {
  openServer,
  serveAt,
  type FederationServer,
  type ServerOptions,
} from '../../src/federation/http/server/open.ts';
import type { Journal } from '../../src/federation/journal.ts';
import type { Participant } from '../../src/federation/participant.ts';
import type { RobustRule } from '../../src/federation/robust/rule.ts';
import { runRounds } from '../../src/federation/rounds.ts';
import { defaultSecureSettings } from '../../src/federation/secure/combiner.ts';
import { keyPair, type KeyPair } from '../../src/federation/secure/keys.ts';
import type { SecureSettings } from '../../src/federation/secure/vector.ts';
import type { Adapter } from '../../src/lora/adapter.ts';
import type { Stage } from '../../src/methods/stage.ts';
import { beside } from '../../src/run/server-rows.ts';
import { clientWorker } from '../../src/run/worker.ts';
import { clients, everyone, initial, journalIn, layout } from './federation.ts';
import { fakeClient, fakeEngine } from './fake-engine.ts';
import { averaging, local } from './stages.ts';
import { temporaryFolder } from './temporary.ts';

// A federation over real HTTP in one process, with a loss in closed form.

export const three = clients.slice(0, 3);
export const names = three.map(({ id }) => id);
/** These and seven others. */
export const ten = [...clients, ...['gus', 'hal', 'ida', 'jon'].map((id, i) => fakeClient(id, 9 + i, 6 + i))];
export const stages = (): Stage[] => [
  averaging(layout, { rounds: 2, steps: 2 }),
  averaging(layout, { name: 'second', rounds: 2, steps: 1, combine: 'each' }),
  local(layout, { steps: 2 }),
];
const seed = 3;

export const described: ServerOptions['description'] = {
  protocol: PROTOCOL,
  fedlora: '1',
  model: { name: 'm', files: [{ name: 'config.json', bytes: 0, sha256: '0'.repeat(64) }] },
  clients: 3,
  lease: 60,
  config: {},
};

export interface Served {
  readonly server: FederationServer;
  readonly journal: Journal;
  close(): Promise<void>;
}

/** A task of nothing, to be offered. */
export const noTask: Offer = {
  message: { kind: 'evaluate', id: '', of: 'base', rows: 'test', place: null, model: null },
  client: names[0]!,
  place: undefined,
  round: 0,
  blobs: [],
  expected: new Map(),
  sent: new Map(),
};

const fail = (error: unknown): never => {
  throw error;
};

/** Everything that a test opens is closed after it. */
export function federationTools() {
  const root = temporaryFolder();
  const closing: (() => Promise<void> | void)[] = [];
  const control = new AbortController();
  afterEach(async () => {
    for (const close of closing.splice(0).reverse()) await close();
  });
  let folders = 0;
  const tools = {
    signal: control.signal,
    folder(): string {
      const folder = join(root, `f${folders++}`);
      mkdirSync(folder);
      return folder;
    },
    /** @param place of the run among several, else a server of its own */
    async serve(
      folder: string,
      more: Partial<ServerOptions> = {},
      place?: { readonly listener: Listener; readonly name: string },
    ): Promise<Served> {
      const journal = journalIn(folder, 'journal.sqlite');
      const options: ServerOptions = {
        folder: join(folder, 'server'),
        journal,
        description: described,
        clients: names,
        host: '127.0.0.1',
        port: 0,
        tokenHours: 1,
        operatorHours: 1,
        openMetrics: false,
        operations: {
          gathering: () => undefined,
          stop: () => undefined,
          export: () => Promise.reject(new Error('there is no model here')),
          backup: () => Promise.reject(new Error('there is no folder here')),
        },
        onError: fail,
        ...more,
      };
      const server = await (place === undefined ? openServer(options) : serveAt(place.listener, place.name, options));
      let open = true;
      const close = async (): Promise<void> => {
        if (!open) return;
        open = false;
        await server.close();
        journal.close();
      };
      closing.push(close);
      return { server, journal, close };
    },
    async listen(...names: readonly string[]): Promise<Listener> {
      const listener = await listen(names, { host: '127.0.0.1', port: 0, onError: fail });
      closing.push(() => listener.close());
      return listener;
    },
    api: (url: string, key?: string): Api =>
      openApi({ url, ...(key !== undefined && { key }), patience: 30, signal: control.signal }),
    token: (server: FederationServer, name: string): string =>
      readFileSync(join(server.tokens, `${name}.token`), 'utf8').trim(),
    async joined(
      server: FederationServer,
      name: string,
      url = server.url,
      identity?: KeyPair,
    ): Promise<{ readonly api: Api; readonly key: string }> {
      const key = newSecret();
      const stranger = tools.api(url);
      const { run, fedlora } = await stranger.describe();
      const own = identity && { identity: Buffer.from(identity.publicKey).toString('base64url') };
      const request = { protocol: PROTOCOL, fedlora, run, key, ...own };
      expect(await stranger.join(request, tools.token(server, name))).toBe(name);
      const api = tools.api(url, key);
      const counts = { train: 3, validation: 0, test: 0, labelledTokens: 100 };
      await api.ready(tellsNothing(await stranger.describe()) ? null : counts);
      return { api, key };
    },
    async state(server: FederationServer, folder: string, name: string): Promise<ClientState> {
      const state = await openClientState(join(folder, name), name, { run: server.run });
      closing.push(() => state.close());
      return state;
    },
    /** A client from joining to the end of the run. */
    async takesPart(
      server: FederationServer,
      folder: string,
      name: string,
      more: {
        readonly url?: string;
        readonly stages?: readonly Stage[];
        /** Where sums are secure: the client's part in them, perhaps another than it should be. */
        readonly sums?: (party: SumParty) => SumParty;
        /** What carries the questions; by default polling. */
        readonly over?: (api: Api, key: string) => TakePart['api'];
      } = {},
    ): Promise<{ readonly events: TakingPart[]; readonly state: ClientState }> {
      const identity = keyPair('ed25519', new Uint8Array(randomBytes(32)));
      const { api: polled, key } = await tools.joined(server, name, more.url, identity);
      const api = more.over?.(polled, key) ?? polled;
      const state = await tools.state(server, folder, name);
      const { serverIdentity } = await polled.describe();
      const sums = more.sums?.(sumParty({ identity, settings: defaultSecureSettings, state, server: serverIdentity }));
      const worker = workerOf(name, more.stages);
      const taking = takePart({ api, state, worker, signal: control.signal, beat: 0.05, ...(sums && { sums }) });
      const events: TakingPart[] = [];
      for (;;) {
        const next = await taking.next();
        if (next.done) return { events, state };
        events.push(next.value);
      }
    },
  };
  return tools;
}

export const workerOf = (name: string, own: readonly Stage[] = stages()): Worker =>
  clientWorker({
    stages: (label) => (label === 'method' ? own : undefined),
    client: ten.find(({ id }) => id === name)!,
    engine: fakeEngine(layout),
    seed,
    options: { seed, batchSize: 2 },
  });

/** What the server has to train for this client, once there is something. */
export async function trainingTask(api: Api): Promise<TrainMessage> {
  const next = await api.next(20);
  if (next.kind !== 'task' || next.task.kind !== 'train') throw new Error(`expected a task, got ${next.kind}`);
  return next.task;
}

/** The rounds at a server; payloads of committed rounds go. */
export async function* rounds(
  { server, journal }: Pick<Served, 'server' | 'journal'>,
  more: {
    readonly stages?: readonly Stage[];
    readonly settings?: Partial<RoundSettings>;
    readonly deadline?: number;
    readonly signal?: AbortSignal;
    readonly clients?: readonly string[];
    readonly secure?: SecureSettings;
    readonly robust?: RobustRule;
    /** Does the tasks of the server's own rows. */
    readonly own?: Participant;
    /** Where it begins. Default: an adapter that has learnt. */
    readonly initial?: Adapter;
  } = {},
): AsyncGenerator<RunEvent, MethodResult> {
  const events = runRounds({
    label: 'method',
    stages: more.stages ?? stages(),
    initial: more.initial ?? initial,
    clients: more.clients ?? names,
    hasProxy: more.own !== undefined,
    participant: more.own === undefined ? server.participant : beside(server.keeping(more.own), server.participant),
    journal,
    rounds: { ...everyone, ...more.settings, ...(more.deadline !== undefined && { deadline: more.deadline }) },
    early: true,
    seed,
    concurrency: ten.length,
    ...(more.secure && { secure: more.secure, holdSum: server.holdSum }),
    ...(more.robust && { robust: more.robust }),
    ...(more.signal && { signal: more.signal }),
  });
  for (;;) {
    const next = await events.next();
    if (next.done) return next.value;
    if (next.value.kind === 'round done') await server.committed(next.value, next.value.round);
    yield next.value;
  }
}
