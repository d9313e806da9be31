import type { Agent } from 'node:https';
import { WebSocket, type RawData } from 'ws';
import { bell } from '../bell.ts';
import { SOCKET_PATH, SOCKET_SILENCE, TOLD_BYTES, toldSchema, type Next, type Said, type Totals } from '../protocol.ts';
import { Refusal } from '../refusal.ts';

/** A WebSocket to the server. It never mends itself: once it is broken it stays so. */
export interface Line {
  /** Why it is of no use any more. */
  broken(): string | undefined;
  /** The next task, or the reason for waiting when there is a new one or so many seconds have passed; undefined where the line broke. */
  next(seconds: number): Promise<Next | undefined>;
  /** A sign of life. False where the line broke before the server had heard it; throws `Refusal` where it does not want it. */
  progress(id: string, totals: Totals): Promise<boolean>;
  close(): void;
}

export interface LineOptions {
  /** Of the run, as for HTTP. */
  readonly url: string;
  readonly key: string;
  readonly signal: AbortSignal;
  /** What opens connections where certificates are not judged as usual. */
  readonly agent?: Agent;
  /** Seconds until a connection must be there; default 10. */
  readonly handshake?: number;
  /** Seconds without a word or a ping after which it is broken; default `SOCKET_SILENCE`. */
  readonly silence?: number;
}

/** Seconds in which a server acknowledges a message. */
const ANSWER = 20;

/** Opens a line. Throws where the server, or what is before it, does not take WebSockets. */
export async function openLine(options: LineOptions): Promise<Line> {
  const { url, key, signal, agent, handshake = 10, silence = SOCKET_SILENCE } = options;
  signal.throwIfAborted();
  const ws = new WebSocket(`${url.replace(/\/+$/, '').replace(/^http/, 'ws')}${SOCKET_PATH}`, {
    headers: { authorization: `Bearer ${key}` },
    maxPayload: TOLD_BYTES,
    perMessageDeflate: false,
    handshakeTimeout: handshake * 1000,
    ...(agent && { agent }),
  });
  const changed = bell();
  let broken: string | undefined;
  const end = (why: string): void => {
    broken ??= why;
    ws.terminate();
    clearTimeout(watch);
    signal.removeEventListener('abort', aborted);
    changed.ring();
  };
  const aborted = (): void => end('stopped');
  signal.addEventListener('abort', aborted);
  const quiet = (): NodeJS.Timeout => setTimeout(() => end(`nothing was heard for ${silence} s`), silence * 1000);
  let watch = quiet();
  const heard = (): void => {
    clearTimeout(watch);
    if (broken === undefined) watch = quiet();
  };

  let next: Next | undefined;
  let asked = false;
  /** The last reason for waiting. */
  let why: string | undefined;
  /** What became of a sign of life. */
  const beats = new Map<string, Refusal | 'heard' | undefined>();
  ws.on('error', (error) => end(error.message));
  ws.on('unexpected-response', (_, response) => {
    response.resume();
    end(`the answer to the upgrade was ${response.statusCode}`);
  });
  ws.on('close', (code, reason) => end(`it was closed (${code}${reason.length > 0 ? `: ${reason.toString()}` : ''})`));
  ws.on('ping', heard);
  ws.on('message', (data: RawData) => {
    heard();
    const told = read(data);
    if (told === undefined) return end('the server said something else than this protocol has');
    if (told.kind === 'heard' || told.kind === 'refused') {
      // Only what was asked: answers to nothing would pile up.
      if (beats.has(told.id))
        beats.set(told.id, told.kind === 'heard' ? 'heard' : new Refusal(told.status, told.code, told.message));
    } else next = told;
    changed.ring();
  });
  await new Promise<void>((done) => {
    ws.once('open', () => done());
    void changed.wait(handshake + 5).then(done);
  });
  if (broken === undefined && ws.readyState !== ws.OPEN) end('there was no answer');
  signal.throwIfAborted();
  if (broken !== undefined) throw new Error(broken);

  const say = (said: Said): void => ws.send(JSON.stringify(said));
  return {
    broken: () => broken,
    async next(seconds) {
      const until = performance.now() + seconds * 1000;
      if (!asked && broken === undefined) {
        asked = true;
        why = undefined;
        say({ kind: 'next' });
      }
      for (;;) {
        const told = next;
        next = undefined;
        if (told?.kind === 'wait') why = told.why;
        else if (told !== undefined) asked = false;
        if (told !== undefined || broken !== undefined) return told;
        const left = (until - performance.now()) / 1000;
        if (left > 0) await changed.wait(left, signal);
        else if (why !== undefined) return { kind: 'wait', why };
        else end(`the server did not answer for ${seconds} s`);
        signal.throwIfAborted();
      }
    },
    async progress(id, totals) {
      if (broken !== undefined) return false;
      const until = performance.now() + ANSWER * 1000;
      beats.set(id, undefined);
      say({ kind: 'progress', id, totals });
      try {
        for (;;) {
          const answer = beats.get(id);
          if (answer === 'heard') return true;
          if (answer !== undefined) throw answer;
          if (broken !== undefined) return false;
          const left = (until - performance.now()) / 1000;
          if (left > 0) await changed.wait(left, signal);
          else end(`the server did not answer for ${ANSWER} s`);
          signal.throwIfAborted();
        }
      } finally {
        beats.delete(id);
      }
    },
    close: () => end('closed'),
  };
}

function read(data: RawData): ReturnType<typeof toldSchema.parse> | undefined {
  try {
    // oxlint-disable-next-line typescript/no-base-to-string -- one message in one buffer, the library's default
    const parsed = toldSchema.safeParse(JSON.parse(data.toString()));
    return parsed.success ? parsed.data : undefined;
  } catch {
    return undefined;
  }
}
