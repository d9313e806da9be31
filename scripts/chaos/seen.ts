import { createHash } from 'node:crypto';
import type { OutcomeMessage, TaskMessage, UpdateMessage } from '../../src/federation/http/protocol.ts';
import { contentRange } from '../../src/federation/http/ranges.ts';

/** What passed between clients and server, as it was sent: the harness's own record, apart from the server's. */
export interface Seen {
  /** Updates by task, as each client sent them over its own connection. */
  readonly sent: Map<string, { readonly client: string; readonly message: UpdateMessage }[]>;
  /** What the server has answered to an update with a yes, also where the answer never arrived. */
  readonly acknowledged: { readonly client: string; readonly task: string; readonly message: UpdateMessage }[];
  /** Whole payloads that clients sent, kept for a sum or fetched, by SHA-256. */
  readonly payloads: Map<string, Uint8Array>;
  /** Of updates that stayed with their clients for a secure sum: the digest of each by its task. */
  readonly kept: Map<string, string>;
  /** Tasks as the server told them, by their names. */
  readonly tasks: Map<string, TaskMessage & { readonly client: string }>;
  /** Each answer of the server to what has become of an update, also those that never arrived. */
  readonly outcomes: (OutcomeMessage & { readonly client: string; readonly task: string })[];
  /** How many tasks came over WebSockets. */
  overSockets: number;
  /** Enrolment tokens that the server has taken. */
  readonly used: Set<string>;
  /** Requests as they were, for those who send them again: path, headers, body. */
  readonly requests: Heard[];
}

export interface Heard {
  readonly client: string;
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
}

export const nothingSeen = (): Seen => ({
  sent: new Map(),
  acknowledged: [],
  payloads: new Map(),
  kept: new Map(),
  tasks: new Map(),
  outcomes: [],
  overSockets: 0,
  used: new Set(),
  requests: [],
});

export const digestOf = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

/** Notes an update message; gives it with its task. */
export function noteUpdate(seen: Seen, { client, path, body }: Heard): { task: string; message: UpdateMessage } {
  const task = path.split('/')[3]!;
  const message = JSON.parse(Buffer.from(body).toString('utf8')) as UpdateMessage;
  seen.sent.set(task, [...(seen.sent.get(task) ?? []), { client, message }]);
  return { task, message };
}

/** Notes what the server told of a next task. */
export function noteNext(seen: Seen, client: string, answer: Buffer): TaskMessage | undefined {
  const next = JSON.parse(answer.toString('utf8')) as { readonly kind: string; readonly task?: TaskMessage };
  if (next.kind !== 'task' || next.task === undefined) return undefined;
  seen.tasks.set(next.task.id, { ...next.task, client });
  return next.task;
}

/** Notes a piece of an upload; a file is kept once all its pieces have been sent. */
export function pieces(seen: Seen): (heard: Heard) => void {
  const files = new Map<string, Buffer>();
  return ({ client, path, headers, body }) => {
    const digest = path.split('/')[3]!;
    const range = contentRange(headers['content-range']);
    if (range === undefined || seen.payloads.has(digest)) return;
    const key = `${client} ${digest}`;
    const file = files.get(key) ?? Buffer.alloc(range.total);
    files.set(key, file);
    file.set(body, range.start);
    if (digestOf(file) === digest) seen.payloads.set(digest, file);
  };
}
