import type { Journal } from '../../journal.ts';
import {
  tellsNothing,
  type DataCounts,
  type Description,
  type JoinMessage,
  type Next,
  type OutcomeMessage,
  type Over,
  type SumsAnswer,
  type Totals,
  type UpdateMessage,
} from '../protocol.ts';
import { NOT_READY, Refusal } from '../refusal.ts';
import type { SumAnswer } from '../sum-protocol.ts';
import { requireCounts, requireFitting } from './admission.ts';
import type { Blobs } from './blobs.ts';
import { requireSums } from './check-sums.ts';
import { clientTasks } from './client-tasks.ts';
import { codesOf } from './codes.ts';
import { payloadLimitOf, type Desk } from './desk.ts';
import type { Gate } from './gate.ts';
import { register } from './identities.ts';
import type { Keys } from './keys.ts';
import type { Monitor } from './monitor.ts';
import type { Store } from './store.ts';
import { submission } from './submission.ts';
import { contribute } from './sums.ts';
import { turns } from './turns.ts';
import type { Uploads } from './uploads.ts';

export interface ServiceParts {
  readonly description: Description;
  readonly store: Store;
  readonly keys: Keys;
  readonly desk: Desk;
  readonly blobs: Blobs;
  readonly uploads: Uploads;
  readonly gate: Gate;
  readonly monitor: Monitor;
  readonly journal: Pick<Journal, 'rounds' | 'clients'>;
}

/** What clients may ask of a server, whatever carries the question. Each throws `Refusal`, and then has changed nothing. */
export interface Service {
  readonly description: Description;
  join(message: JoinMessage, token: string): Promise<{ client: string }>;
  /** @param code what the client says it is computed by */
  ready(client: string, data: DataCounts | null, code?: string): void;
  next(client: string, seconds: number, signal: AbortSignal): Promise<Next>;
  /** What those wait for who have no task. */
  why(): string;
  progress(client: string, id: string, totals: Totals): void;
  submit(client: string, id: string, message: UpdateMessage): Promise<OutcomeMessage>;
  answer(client: string, id: string, answer: SumsAnswer): OutcomeMessage;
  /** An answer in a stage of a secure sum. */
  contribute(client: string, id: string, answer: SumAnswer): Promise<OutcomeMessage>;
  fail(client: string, id: string, reason: string): OutcomeMessage;
  outcome(client: string, id: string): OutcomeMessage;
  /** Ends a client's part for good, and deletes what is here of it alone. */
  leave(client: string): Promise<void>;
  /** Bytes that an upload of this client may have at present. */
  most(client: string): number;
  mayFetch(client: string, digest: string): boolean;
  /** The run is over: everybody who asks is told. */
  end(over: Over): void;
  over(): Over | undefined;
  /** Whether a client was told so, and what became of all that it sent since the server started. */
  told(client: string): boolean;
}

/** Why a client that has left has no part in a round. */
const LEFT = 'it has left the run';

export function service(parts: ServiceParts): Service {
  const { description, store, keys, desk, blobs, uploads, gate, journal } = parts;
  const told = new Set<string>();
  const codes = codesOf((what, client, detail) => store.audit(what, client, detail));
  /** Updates whose client has not heard yet what became of them. */
  const owed = new Map<string, Set<string>>();
  /** Once an answer is written: who waits for what is noted may close the connections then. */
  const afterwards = (client: string, note: () => void): void =>
    void setImmediate(() => {
      note();
      desk.heard(client);
    });
  const silent = tellsNothing(description);
  const tasks = clientTasks({ store, desk, journal, over: () => over });
  const inTurn = turns();
  /** What reads an upload into memory as a whole: no two at a time. */
  const alone = <T>(body: () => Promise<T>): Promise<T> => inTurn('whole', body);
  let over: Over | undefined;
  const submit = submission({
    ...parts,
    tasks,
    alone,
    received: (client, id) => owed.set(client, (owed.get(client) ?? new Set()).add(id)),
  });

  function why(): string {
    const others = desk.oldest();
    const paused = gate.holding() ? gate.shutSince() : undefined;
    // How many were drawn for a round, and when it began, is not for other clients to know.
    if (others !== undefined && !silent)
      return `waiting for ${others.count} client(s) since ${new Date(others.since).toISOString()}`;
    return paused === undefined
      ? 'nothing to do at present'
      : `paused by whoever runs the server since ${new Date(paused).toISOString()}`;
  }

  return {
    description,
    async join(message, token) {
      requireFitting(description, message);
      const { key, fedlora, identity, code } = message;
      const client = await keys.join(token, key, code === undefined ? fedlora : `${fedlora} (${code})`);
      codes.joined(client, code);
      if (identity !== undefined) register(store, client, identity);
      return { client };
    },
    ready(client, data, code) {
      const before = store.client(client)?.data;
      requireCounts(silent, data, before);
      if (before === undefined) store.setData(client, data);
      codes.told(client, code);
      desk.heard(client);
    },
    async next(client, seconds, signal) {
      desk.heard(client);
      // Else it would be waited for, as one that has not come, and would itself wait.
      if (over === undefined && store.client(client)?.data === undefined)
        throw new Refusal(409, NOT_READY, 'say first what you have, with POST /v1/ready: it is not known here');
      const task = over === undefined ? await desk.next(client, seconds, signal) : undefined;
      desk.heard(client);
      if (over !== undefined) {
        afterwards(client, () => told.add(client));
        return { kind: 'over', ...over };
      }
      return task === undefined ? { kind: 'wait', why: why() } : { kind: 'task', task };
    },
    why,
    progress(client, id, totals) {
      desk.heard(client);
      // What is finished may be kept for a run that goes on; what is not is not worth going on with.
      if (over !== undefined) throw new Refusal(409, 'over', `the run is over: ${over.why}`);
      tasks.opened(client, id);
      const before = desk.totals(id);
      if (before !== undefined && (totals.tokens < before.tokens || totals.processed < before.processed))
        throw new Refusal(422, 'backwards', 'fewer tokens than were reported before');
      desk.progress(id, totals);
    },
    submit: (client, id, message) => {
      desk.heard(client);
      return inTurn(id, () => submit(client, id, message));
    },
    answer(client, id, answer) {
      desk.heard(client);
      const row = tasks.own(client, id);
      if (row.kind !== 'evaluate') throw new Refusal(409, 'kind', 'this task asks for an update, not for sums');
      if (row.result !== undefined) {
        if (JSON.stringify(row.result) === JSON.stringify(answer)) return tasks.outcome(row);
        throw new Refusal(409, 'other-answer', 'another answer to this task was received before');
      }
      const { message } = tasks.open(row);
      if (message.kind === 'evaluate') requireSums(answer.sums, message.rows, store.client(client)?.data, description);
      store.finish(id, answer, undefined);
      desk.finished(id, { result: answer, digest: undefined });
      return { outcome: 'accepted' };
    },
    async contribute(client, id, answer) {
      desk.heard(client);
      const given = () => contribute({ desk, uploads, blobs }, tasks.opened(client, id), answer);
      await inTurn(id, () => (answer.kind === 'masked' ? alone(given) : given()));
      return { outcome: 'received' };
    },
    fail(client, id, said) {
      desk.heard(client);
      tasks.opened(client, id);
      const reason = said.replaceAll('\0', ' ').replaceAll(/\s+/g, ' ');
      store.audit('failed', client, `${id} ${reason}`);
      desk.failed(id, reason);
      return { outcome: 'refused', reason };
    },
    outcome: (client, id) => {
      desk.heard(client);
      const answer = tasks.outcome(tasks.own(client, id));
      const last = over !== undefined || answer.outcome === 'accepted' || answer.outcome === 'refused';
      if (last) afterwards(client, () => owed.get(client)?.delete(id));
      return answer;
    },
    async leave(client) {
      // The record first: what a kill leaves of the files goes when the server starts again.
      const digests = keys.leave(client);
      for (const offer of desk.offers(client)) desk.failed(offer.message.id, LEFT);
      desk.wake();
      for (const digest of digests) await blobs.release(digest);
      await uploads.forget(client);
    },
    most(client) {
      desk.heard(client);
      return Math.max(0, ...desk.offers(client).map(payloadLimitOf));
    },
    mayFetch(client, digest) {
      desk.heard(client);
      return desk.mayFetch(client, digest);
    },
    end(value) {
      over = value;
      desk.wake();
    },
    over: () => over,
    told: (client) => told.has(client) && (owed.get(client)?.size ?? 0) === 0,
  };
}
