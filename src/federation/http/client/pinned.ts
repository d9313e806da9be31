import { Agent, request as ask } from 'node:https';
import { Readable } from 'node:stream';
import { connect } from 'node:tls';
import { UserError } from '../../../errors.ts';

/** What TLS says of a certificate that waiting does not mend. */
const distrusted = [
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'ERR_TLS_CERT_ALTNAME_INVALID',
];

/** Throws UserError where a connection failed since nobody vouches for the server's certificate: trying again would end the same. */
export function requireTrusted(error: unknown, server: string): void {
  const { cause } = error as { cause?: unknown };
  if (!(cause instanceof Error) || !distrusted.includes(String((cause as NodeJS.ErrnoException).code))) return;
  throw new UserError(
    `${server} shows a certificate that this machine has no reason to trust (${cause.message}): give --fingerprint, as the server prints it (or FEDLORA_FINGERPRINT); one of your own authority is trusted with NODE_EXTRA_CA_CERTS=its-certificate.pem`,
    { cause: error },
  );
}

/** Seconds in which a connection is encrypted, or given up. */
const HANDSHAKE = 30;

/** How a client carries its requests: the same as `fetch` for what a client needs of it. */
export type Fetch = (
  url: string,
  init: {
    readonly method: string;
    readonly headers: Readonly<Record<string, string>>;
    readonly body?: BodyInit;
    readonly redirect: 'error';
    readonly signal: AbortSignal;
  },
) => Promise<Response>;

/** Trust in one certificate and no other, for requests and WebSockets. */
export interface Pinned {
  readonly agent: Agent;
  readonly fetch: Fetch;
}

/**
 * Trusts the certificate with this SHA-256 fingerprint (`AB:CD:…`, colons and case do not matter) and nothing else: before anything
 * is said on a connection, the other side must have proved that it has that certificate's key. Names in it do not matter then; its
 * time does. Throws UserError for what is no fingerprint; so does a request to another server.
 */
export function pinned(fingerprint: string): Pinned {
  const wanted = fingerprint.replaceAll(':', '').toLowerCase();
  if (!/^[0-9a-f]{64}$/.test(wanted))
    throw new UserError(
      `${fingerprint} is no fingerprint: expected the SHA-256 of a certificate, 64 hexadecimal digits, as the server prints it`,
    );
  const agent = new Agent({ keepAlive: true, maxCachedSessions: 0 });
  agent.createConnection = (options, done) => {
    const socket = connect({
      ...(options as object),
      rejectUnauthorized: false,
      // A resumed session would show no certificate.
      session: undefined,
    });
    socket.once('error', (error) => done?.(error, socket));
    socket.setTimeout(HANDSHAKE * 1000, () => socket.destroy(new Error(`no TLS within ${HANDSHAKE} s`)));
    socket.once('secureConnect', () => {
      socket.setTimeout(0);
      const certificate = socket.getPeerX509Certificate();
      const found = certificate?.fingerprint256.replaceAll(':', '').toLowerCase();
      if (certificate === undefined || found !== wanted) {
        const what =
          certificate === undefined ? 'no certificate' : `another certificate (${certificate.fingerprint256})`;
        const { host } = options as { host?: string };
        socket.destroy(
          new UserError(`${host} shows ${what} than the one with this fingerprint: nothing was sent to it`),
        );
      } else if (Date.parse(certificate.validTo) < Date.now())
        socket.destroy(
          new UserError(
            `the server's certificate expired on ${certificate.validTo}: it makes a new one when it is started again`,
          ),
        );
      else done?.(null, socket);
    });
    return undefined;
  };
  return { agent, fetch: fetchThrough(agent) };
}

/** As `fetch` has it: a connection that fails is a TypeError, with its cause. */
const fetchThrough =
  (agent: Agent): Fetch =>
  (url, { method, headers, body, signal }) =>
    new Promise((done, failed) => {
      const broken = (cause: unknown): unknown =>
        cause instanceof UserError ? cause : signal.aborted ? signal.reason : new TypeError('fetch failed', { cause });
      const request = ask(url, { method, headers, agent, signal }, (answer) => {
        const { statusCode = 0 } = answer;
        if (statusCode >= 300 && statusCode < 400) {
          answer.destroy();
          failed(new TypeError('fetch failed', { cause: new Error('unexpected redirect') }));
          return;
        }
        async function* chunks(): AsyncGenerator<Uint8Array> {
          try {
            yield* answer as AsyncIterable<Uint8Array>;
          } catch (cause) {
            throw broken(cause);
          }
        }
        const stream = Readable.toWeb(Readable.from(chunks())) as ReadableStream<Uint8Array>;
        done(
          new Response(stream, {
            status: statusCode,
            headers: Object.entries(answer.headers).flatMap(([name, value]): [string, string][] =>
              value === undefined ? [] : [[name, String(value)]],
            ),
          }),
        );
      });
      request.once('error', (error) => failed(broken(error)));
      // A request that has no connection yet says nothing of its end.
      signal.addEventListener('abort', () => failed(broken(signal.reason)), { once: true });
      request.end(body as string | Uint8Array | undefined);
    });
