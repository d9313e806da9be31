import { X509Certificate } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { request as plainly, type ClientRequest, type IncomingMessage, type RequestOptions } from 'node:http';
import { request as encrypted } from 'node:https';
import { connect as plainSocket, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { Transform, Duplex } from 'node:stream';
import { connect as encryptedSocket, TLSSocket } from 'node:tls';
import type { Plan } from './plan.ts';

/*
 * The harness is at home with the server: it has the certificate that the server made for itself, with its key, so that what
 * passes over TLS can be read between client and server, and each of the two sees the server's own certificate.
 */

export interface Certified {
  readonly cert: string;
  readonly key: string;
  readonly fingerprint: string;
}

/** The certificate of a scenario's server; undefined where it has none yet. */
export function certificateOf(folder: string, { runs }: Pick<Plan, 'runs'>): Certified | undefined {
  const at = join(folder, 'server', ...(runs.length > 1 ? ['tls'] : ['server', 'tls']));
  const [cert, key] = ['cert.pem', 'key.pem'].map((name) => join(at, name));
  if (!existsSync(cert!) || !existsSync(key!)) return undefined;
  const text = readFileSync(cert!, 'utf8');
  return { cert: text, key: readFileSync(key!, 'utf8'), fingerprint: new X509Certificate(text).fingerprint256 };
}

/** A request to wherever the URL says, whosever certificate is shown there: that clients look is what is tried. */
export function asked(
  { url, ...options }: RequestOptions & { readonly url: string },
  answered: (response: IncomingMessage) => void,
): ClientRequest {
  const { protocol, hostname, port } = new URL(url);
  const to = { hostname, port, ...options };
  return protocol === 'https:' ? encrypted({ ...to, rejectUnauthorized: false }, answered) : plainly(to, answered);
}

/** A connection to there. */
export function connected(url: string): Socket {
  const { protocol, hostname, port } = new URL(url);
  return protocol === 'https:'
    ? encryptedSocket({ port: Number(port), host: hostname, rejectUnauthorized: false })
    : plainSocket(Number(port), hostname);
}

/**
 * Takes connections under the certificate that is there when they come, and hands them on decrypted; without one they end.
 * @param spoilt says at which byte of what the next connection's client sends one bit is to be flipped, before it is decrypted
 */
export function decrypting(
  certificate: () => Certified | undefined,
  spoilt: () => number | undefined,
  hand: (socket: Socket) => void,
): Server {
  return createServer((raw) => {
    raw.on('error', () => raw.destroy());
    const certified = certificate();
    if (certified === undefined) {
      raw.destroy();
      return;
    }
    const at = spoilt();
    const { cert, key } = certified;
    const socket = new TLSSocket(at === undefined ? raw : spoiling(raw, at), { isServer: true, cert, key });
    socket.on('error', () => raw.destroy());
    socket.on('close', () => raw.destroy());
    hand(socket);
  });
}

/** The same connection, of whose incoming bytes one has another bit. */
function spoiling(raw: Socket, at: number): Duplex {
  let seen = 0;
  const flip = new Transform({
    transform(chunk: Buffer, _, done) {
      if (seen <= at && at < seen + chunk.length) chunk[at - seen]! ^= 1;
      seen += chunk.length;
      done(null, chunk);
    },
  });
  raw.on('close', () => flip.destroy());
  return Duplex.from({ readable: raw.pipe(flip), writable: raw });
}
