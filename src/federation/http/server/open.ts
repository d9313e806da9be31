import { randomBytes } from 'node:crypto';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Place } from '../../events.ts';
import type { Journal } from '../../journal.ts';
import type { Participant } from '../../participant.ts';
import type { HoldSum } from '../../secure/combiner.ts';
import type { SecureSettings } from '../../secure/vector.ts';
import type { Description, Over } from '../protocol.ts';
import { openBlobs, type Blobs } from './blobs.ts';
import { openDesk, type Desk } from './desk.ts';
import { openGate, type Gate } from './gate.ts';
import { openMonitor, type Monitor } from './monitor.ts';
import { operation, type Operations } from './operation.ts';
import { operatorsOf } from './operators.ts';
import { ownParty } from './own-party.ts';
import { keysOf } from './keys.ts';
import { listen, type Listener, type ListenOptions } from './listener.ts';
import { remoteParticipant } from './participant.ts';
import { receivedOf } from './received.ts';
import { service } from './service.ts';
import { steady } from './steady.ts';
import { openSockets } from './sockets.ts';
import { openStore, type Store } from './store.ts';
import { remoteSums } from './sums.ts';
import { openUploads } from './uploads.ts';

export interface RunServerOptions {
  /** Where the server keeps its own record, payloads and unused tokens. */
  readonly folder: string;
  readonly journal: Journal;
  readonly description: Omit<Description, 'run'>;
  /** Names of those who may take part. */
  readonly clients: readonly string[];
  /** Hours for which a new token is valid. */
  readonly tokenHours: number;
  /** Days for which a client's key is valid. Default: for good. */
  readonly keyDays?: number;
  /** Hours for which a new operator token is valid. */
  readonly operatorHours: number;
  /** Whether anybody may read the metrics. */
  readonly openMetrics: boolean;
  /** Seconds for one stage of a secure sum. Default: 300. */
  readonly sumDeadline?: number;
  /** How secure sums are made, where the server's own rows are in them. Default: they are in none. */
  readonly ownSums?: SecureSettings;
  /** A client's own ranks by methods' labels. Default: none has any. */
  readonly ranks?: (client: string) => Readonly<Record<string, number>>;
  /** What only the run itself can do for an operator. */
  readonly operations: Operations;
}

export type ServerOptions = RunServerOptions & ListenOptions;

export interface FederationServer {
  readonly url: string;
  readonly run: string;
  /** The folder with tokens that were not used yet. */
  readonly tokens: string;
  /** The folder with the tokens of operators. */
  readonly operators: string;
  readonly gate: Gate;
  readonly monitor: Monitor;
  readonly desk: Desk;
  readonly store: Store;
  readonly blobs: Blobs;
  readonly participant: Participant;
  readonly holdSum: HoldSum;
  /** Of the server's own rows: where they are in secure sums, its updates wait for one. */
  keeping(participant: Participant): Participant;
  /** WebSockets that are open. */
  sockets(): number;
  /** A round is committed: payloads of its updates go. */
  committed(at: Place, round: number): Promise<void>;
  /** Tells everybody who asks that the run is over, until all clients know or so many seconds have passed. */
  end(over: Over, seconds: number, signal?: AbortSignal): Promise<void>;
  close(): Promise<void>;
}

/** Starts a server of one run, or goes on where its folder stands. Throws UserError where it cannot listen. */
export async function openServer(options: ServerOptions): Promise<FederationServer> {
  const listener = await listen([''], options);
  try {
    const server = await serveAt(listener, '', options);
    return {
      ...server,
      async close() {
        await listener.close();
        await server.close();
      },
    };
  } catch (error) {
    await listener.close();
    throw error;
  }
}

/** Begins to serve a run, or goes on where its folder stands, at its place of a server that listens. */
export async function serveAt(listener: Listener, name: string, options: RunServerOptions): Promise<FederationServer> {
  const { folder, journal, clients } = options;
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const store = openStore(join(folder, 'server.sqlite'), journal);
  try {
    const run = store.meta('run') ?? randomBytes(16).toString('hex');
    store.setMeta('run', run);
    const blobs = await openBlobs(join(folder, 'payloads'));
    for (const digest of store.digests()) blobs.hold(digest);
    await blobs.sweep();
    const uploads = openUploads(join(folder, 'uploads'));
    for (const { name } of store.clients()) if (store.revoked(name) !== undefined) await uploads.forget(name);
    const keys = keysOf(store, join(folder, 'tokens'), options.tokenHours, options.keyDays);
    const tokens = await keys.issue(clients);
    const operators = operatorsOf(store, join(folder, 'operators'), options.operatorHours);
    const operatorTokens = await operators.issue();
    const { fedlora, lease } = options.description;
    const desk = openDesk(store, lease);
    const gate = openGate(store);
    const monitor = openMonitor((at) => journal.rounds(at).at(-1)?.privacy?.epsilon);
    const trained = new Map<string, string>();
    const { ownSums } = options;
    const own = ownSums && ownParty({ run, settings: ownSums, store, blobs, trained });
    const answers = service({
      description: { ...options.description, run, ...(own && { serverIdentity: own.identity }) },
      store,
      keys,
      desk,
      blobs,
      uploads,
      gate,
      monitor,
      journal,
    });
    const over = (): Over | undefined => answers.over();
    const { operations } = options;
    const parts = { run, fedlora, lease, store, uploads, keys, operators, desk, gate, monitor, over, operations };
    const operated = operation(parts);
    const sockets = openSockets({ keys, service: answers, desk, monitor, lease });
    const url = listener.mount(name, {
      service: answers,
      keys,
      blobs,
      uploads,
      sockets,
      operators,
      operation: operated,
      monitor,
      openMetrics: options.openMetrics,
      self: (client) => ({
        client,
        ranks: { ...options.ranks?.(client) },
        received: receivedOf(store, journal, client),
      }),
    });
    return {
      url,
      run,
      tokens,
      operators: operatorTokens,
      gate,
      monitor,
      desk,
      store,
      blobs,
      participant: remoteParticipant({ run, desk, blobs, trained }),
      holdSum: remoteSums({ run, desk, blobs, store, trained, own, deadline: options.sumDeadline ?? 300 }),
      keeping: (participant) => own?.keeping(participant) ?? participant,
      sockets: () => sockets.count(),
      async committed(at, round) {
        for (const digest of store.forgetPayloads(at, round)) await blobs.release(digest);
        await own?.committed();
      },
      async end(over, seconds, signal = new AbortController().signal) {
        answers.end(over);
        const deadline = steady() + seconds * 1000;
        const joined = store.clients().flatMap(({ name, key }) => (key === undefined ? [] : [name]));
        // Whose key is not valid any more cannot be told.
        const done = (client: string): boolean => keys.ended(client) !== undefined || answers.told(client);
        for (;;) {
          const left = (deadline - steady()) / 1000;
          if (left <= 0 || signal.aborted || joined.every(done)) break;
          await desk.arrival(Math.min(1, left), signal);
        }
        if (over.how === 'finished') await Promise.all([blobs.clear(), uploads.clear()]);
      },
      async close() {
        listener.unmount(name, 'this run was stopped, and goes on when whoever runs it starts it again');
        desk.wake();
        store.close();
      },
    };
  } catch (error) {
    store.close();
    throw error;
  }
}
