import type { IncomingMessage } from 'node:http';
import { WebSocketServer, type WebSocket } from 'ws';
import { MESSAGE_BYTES, saidSchema, SOCKET_SILENCE, SOCKETS_EACH, type Said, type Told } from '../protocol.ts';
import { Refusal } from '../refusal.ts';
import type { Upgrade } from './call.ts';
import type { Desk } from './desk.ts';
import type { Keys } from './keys.ts';
import type { Service } from './service.ts';

/** Clients' WebSockets: over each a client is told of its next task, of waits and of the end, and gives its signs of life. */
export interface Sockets {
  /** Takes over the connection of an upgrade request whose key was checked. */
  take(request: IncomingMessage, client: string, upgrade: Upgrade): void;
  count(): number;
  /** Closes all, and takes no more. */
  close(): void;
}

export interface SocketParts {
  readonly keys: Pick<Keys, 'onRevoked' | 'ended'>;
  readonly service: Pick<Service, 'next' | 'progress' | 'why'>;
  readonly desk: Pick<Desk, 'watch' | 'heard'>;
  /** Told of what is refused. */
  readonly monitor: { refused(status: number, code: string): void };
  /** Seconds of a lease: a client that only waits must be heard of within it. */
  readonly lease: number;
}

/** Why a server closes a WebSocket: codes of RFC 6455 and, from 4000, its own. */
export const CLOSED = {
  leaving: 1001,
  notText: 1003,
  notAsked: 1008,
  replaced: 4000,
  revoked: 4001,
  slow: 4002,
  failed: 1011,
} as const;

/** Bytes that may wait for a client that does not read. */
const MOST_UNREAD = 4 * 2 ** 20;

interface One {
  readonly ws: WebSocket;
  readonly client: string;
  readonly onError: Upgrade['onError'];
  /** Milliseconds since the process began. */
  due: number;
  /** Has answered the last ping. */
  alive: boolean;
  /** Has asked for a task and was not given one yet. */
  asked: boolean;
  /** The reason that it was told for waiting. */
  why: string | undefined;
  close(): void;
}

export function openSockets({ keys, service, desk, monitor, lease }: SocketParts): Sockets {
  const upgrades = new WebSocketServer({
    noServer: true,
    clientTracking: false,
    maxPayload: MESSAGE_BYTES,
    perMessageDeflate: false,
  });
  const pause = 1000 * Math.max(0.2, Math.min(SOCKET_SILENCE, lease) / 3);
  // In the order in which they are due.
  const all = new Set<One>();
  const byClient = new Map<string, Set<One>>();
  const control = new AbortController();

  function tell({ ws }: One, told: Told): void {
    if (ws.readyState !== ws.OPEN) return;
    if (ws.bufferedAmount > MOST_UNREAD) ws.terminate();
    else ws.send(JSON.stringify(told));
  }

  function wait(one: One, why: string): void {
    if (why === one.why) return;
    one.why = why;
    tell(one, { kind: 'wait', why });
  }

  function failed({ ws, onError }: One, error: unknown): void {
    onError(error);
    ws.close(CLOSED.failed, 'the server failed; try again');
  }

  /** Says what there is to say to a client that has asked. */
  const news = (one: One): void => {
    if (one.asked) answer(one).catch((error: unknown) => failed(one, error));
  };

  async function answer(one: One): Promise<void> {
    const next = await service.next(one.client, 0, control.signal).catch((error: unknown) => {
      if (!(error instanceof Refusal)) throw error;
      // It hears the same, and what to do, when it polls.
      monitor.refused(error.status, error.code);
      one.ws.close(CLOSED.notAsked, error.code);
    });
    if (next === undefined) return;
    // Meanwhile it may have gone, or been told by another.
    if (!one.asked || !all.has(one)) return;
    if (next.kind === 'wait') return wait(one, next.why);
    one.asked = false;
    one.why = undefined;
    tell(one, next);
  }

  function hear(one: One, said: Said): void {
    if (said.kind === 'next') {
      one.asked = true;
      return news(one);
    }
    const { id, totals } = said;
    try {
      service.progress(one.client, id, totals);
      tell(one, { kind: 'heard', id });
    } catch (error) {
      if (!(error instanceof Refusal)) return failed(one, error);
      const { status, code, message } = error;
      monitor.refused(status, code);
      tell(one, { kind: 'refused', id, status, code, message });
    }
  }

  /** Pings those that are due, and gives up those that have not answered the ping before. */
  const clock = setInterval(
    () => {
      const now = performance.now();
      const why = service.why();
      for (const one of all) {
        if (one.due > now) return;
        if (!one.alive) {
          one.ws.terminate();
          continue;
        }
        if (keys.ended(one.client) !== undefined) {
          one.ws.close(CLOSED.revoked, 'the key has expired');
          continue;
        }
        one.alive = false;
        one.due = now + pause;
        all.delete(one);
        all.add(one);
        one.ws.ping();
        if (one.asked) wait(one, why);
      }
    },
    Math.min(500, pause / 2),
  );
  clock.unref();

  function added(ws: WebSocket, client: string, onError: Upgrade['onError']): One {
    const unwatch = desk.watch(client, () => news(one));
    const one: One = {
      ws,
      client,
      onError,
      due: performance.now() + pause,
      alive: true,
      asked: false,
      why: undefined,
      close() {
        unwatch();
        all.delete(one);
        byClient.get(client)?.delete(one);
        if (byClient.get(client)?.size === 0) byClient.delete(client);
      },
    };
    const mine = byClient.get(client) ?? new Set();
    byClient.set(client, mine.add(one));
    all.add(one);
    for (const oldest of mine) {
      if (mine.size <= SOCKETS_EACH) break;
      // At once: one that is slow to close must not keep its place.
      oldest.close();
      oldest.ws.close(CLOSED.replaced, 'another connection of this client took its place');
      setTimeout(() => oldest.ws.terminate(), 1000).unref();
    }
    return one;
  }

  function begin(ws: WebSocket, client: string, { delay, onError }: Upgrade): void {
    const one = added(ws, client, onError);
    desk.heard(client);
    const refuse = (code: number, status: number, why: string): void => {
      monitor.refused(status, 'socket');
      ws.close(code, why);
    };
    ws.on('close', () => one.close());
    // The library closes the connection by itself, with the code that says why.
    ws.on('error', () => monitor.refused(400, 'socket'));
    const slow = (): void => refuse(CLOSED.slow, 429, 'too many messages; come again a little later');
    // Answered by the library.
    ws.on('ping', () => {
      if (delay() > 0) slow();
    });
    ws.on('pong', () => {
      if (delay() > 0) return slow();
      one.alive = true;
      desk.heard(client);
    });
    ws.on('message', (data: Buffer, isBinary) => {
      if (ws.readyState !== ws.OPEN) return;
      if (delay() > 0) return slow();
      if (isBinary) return refuse(CLOSED.notText, 415, 'messages are JSON text');
      const said = read(data);
      if (said === undefined) return refuse(CLOSED.notAsked, 422, 'this is no message of this protocol');
      one.alive = true;
      hear(one, said);
    });
  }

  keys.onRevoked((client) => {
    for (const { ws } of byClient.get(client) ?? []) ws.close(CLOSED.revoked, 'the key was revoked');
  });

  return {
    take(request, client, upgrade) {
      if (control.signal.aborted) upgrade.socket.destroy();
      else upgrades.handleUpgrade(request, upgrade.socket, upgrade.head, (ws) => begin(ws, client, upgrade));
    },
    count: () => all.size,
    close() {
      control.abort();
      clearInterval(clock);
      for (const { ws } of all) {
        ws.close(CLOSED.leaving, 'the server is leaving');
        ws.terminate();
      }
    },
  };
}

function read(data: Buffer): Said | undefined {
  try {
    const parsed = saidSchema.safeParse(JSON.parse(data.toString('utf8')));
    return parsed.success ? parsed.data : undefined;
  } catch {
    return undefined;
  }
}
