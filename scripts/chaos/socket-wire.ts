import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { setTimeout } from 'node:timers/promises';
import { connected } from './encrypted.ts';
import type { Mischief } from './wire.ts';

/**
 * A client's WebSocket, handed on byte for byte, held up, thinned out or cut as the plan says, and read along. Both ends go together.
 * @param said messages of the client, before they are handed on; `told`: the server's
 */
export async function passSocket(
  { request, socket, head }: { readonly request: IncomingMessage; readonly socket: Socket; readonly head: Buffer },
  parts: {
    readonly upstream: string;
    readonly how: Mischief;
    readonly signal: AbortSignal;
    readonly said: (text: Buffer) => void;
    readonly told: (text: Buffer) => void;
  },
): Promise<void> {
  const { upstream, how, signal, said, told } = parts;
  const { pathname } = new URL(upstream);
  const server = connected(upstream);
  const end = (): void => {
    socket.destroy();
    server.destroy();
  };
  signal.addEventListener('abort', end);
  for (const one of [socket, server]) one.on('error', end).on('close', end);
  if (how.kind === 'cut' && how.where !== 'before') globalThis.setTimeout(end, how.share * 4000).unref();
  const headers = request.rawHeaders.flatMap((name, i, all) => (i % 2 === 0 ? [`${name}: ${all[i + 1]}`] : []));
  const path = `${pathname.replace(/\/$/, '')}${request.url}`;
  server.write(`GET ${path} HTTP/1.1\r\n${headers.join('\r\n')}\r\n\r\n`);
  const ears = [frames(said), afterHead(frames(told))] as const;
  if (head.length > 0) {
    ears[0](head);
    server.write(head);
  }
  const [up, down] = how.kind === 'delayed' ? [how.request, how.answer] : [0, 0];
  try {
    await Promise.all([pump(socket, server, ears[0], how, up), pump(server, socket, ears[1], how, down)]);
  } catch {
    // One of the two has broken, and both end.
  } finally {
    end();
    signal.removeEventListener('abort', end);
  }
}

async function pump(
  from: Socket,
  to: Socket,
  hear: (chunk: Buffer) => void,
  how: Mischief,
  delay: number,
): Promise<void> {
  for await (const chunk of from as AsyncIterable<Buffer>) {
    hear(chunk);
    if (delay > 0) await setTimeout(delay);
    const size = how.kind === 'throttled' ? how.chunk : chunk.length;
    for (let at = 0; at < chunk.length; at += size) {
      to.write(chunk.subarray(at, at + size));
      if (how.kind === 'throttled') await setTimeout(how.pause);
    }
  }
}

/** What comes behind the head of an answer that upgrades. */
function afterHead(next: (chunk: Buffer) => void): (chunk: Buffer) => void {
  let before: Buffer | undefined = Buffer.alloc(0);
  return (chunk) => {
    if (before === undefined) return next(chunk);
    before = Buffer.concat([before, chunk]);
    const end = before.indexOf('\r\n\r\n');
    if (end < 0) return;
    const rest = before.subarray(end + 4);
    before = undefined;
    if (rest.length > 0) next(rest);
  };
}

/** Text messages in a stream of frames (RFC 6455, section 5.2), each whole in one frame. */
export function frames(hear: (text: Buffer) => void): (chunk: Buffer) => void {
  let bytes = Buffer.alloc(0);
  return (chunk) => {
    bytes = Buffer.concat([bytes, chunk]);
    for (;;) {
      if (bytes.length < 2) return;
      const masked = (bytes[1]! & 0x80) !== 0;
      const short = bytes[1]! & 0x7f;
      const wide = short === 126 ? 2 : short === 127 ? 8 : 0;
      const from = 2 + wide + (masked ? 4 : 0);
      if (bytes.length < from) return;
      const length = wide === 2 ? bytes.readUInt16BE(2) : wide === 8 ? Number(bytes.readBigUInt64BE(2)) : short;
      if (bytes.length < from + length) return;
      const payload = Buffer.from(bytes.subarray(from, from + length));
      if (masked) for (let i = 0; i < length; i++) payload[i]! ^= bytes[from - 4 + (i % 4)]!;
      const text = (bytes[0]! & 0x0f) === 1;
      bytes = bytes.subarray(from + length);
      if (text) hear(payload);
    }
  };
}
