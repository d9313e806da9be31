import { createServer as createPlain, ServerResponse, type IncomingMessage, type Server } from 'node:http';
import { createServer as createSecure } from 'node:https';
import type { Socket } from 'node:net';
import { Refusal } from '../refusal.ts';
import {
  answered,
  asker,
  bearer,
  message,
  type About,
  type Call,
  type HttpParts,
  type Route,
  type Sent,
  type Upgrade,
} from './call.ts';
import { roomOf, watchConnections, type Connections, type Room } from './connections.ts';
import { placeOf, rateLimiter, roomFor, type Rate } from './limits.ts';
import { mountAt, type Mount, type WholeServer } from './mounts.ts';
import { openApiRoute } from './openapi.ts';
import { operatorRoutes } from './operator-routes.ts';
import { routes } from './routes.ts';
import { serverRoutes } from './server-routes.ts';
import { trafficOf, type Traffic } from './traffic.ts';

/** Of a listening server. */
export interface HttpOptions {
  /** PEM texts; without them the server speaks plain HTTP. */
  readonly tls?: { readonly cert: string; readonly key: string; readonly fingerprint?: string };
  readonly rate?: Rate;
  /** Connections at a time. Default: by the descriptors of this process. */
  readonly room?: Room;
  /** Milliseconds in which a connection has to move while it is answered. Default: 120,000. */
  readonly stall?: number;
  /** Told of errors that are the server's own. */
  readonly onError: (error: unknown) => void;
}

const compiled = <Parts>(all: readonly Route<Sent, Parts>[]) =>
  all.map((route) => ({
    ...route,
    matches: new RegExp(`^${route.path.replace('.', '\\.').replace(/\{\w+\}/, '([^/]+)')}$`),
  }));
type Compiled<Parts> = ReturnType<typeof compiled<Parts>>;

const ofRun = compiled<HttpParts>([...routes, ...operatorRoutes, openApiRoute]);
const ofServer = compiled<WholeServer>([...serverRoutes, openApiRoute]);

/** A server of these runs, not yet listening. Every answer is JSON but payloads; every refusal says why. */
export function httpServer(
  mounts: readonly Mount[],
  { tls, rate, room = roomOf(), stall = 120_000, onError }: HttpOptions,
): { readonly http: Server; readonly traffic: () => Traffic } {
  const limiter = rateLimiter(rate ?? { perSecond: 100, burst: 400 });
  const limits = { ...limiter, ...roomFor(AT_ONCE) };
  const listener = (request: IncomingMessage, response: ServerResponse, upgrade?: UpgradeRequest): void => {
    handle({ request, response, ...(upgrade && { upgrade }) }, { mounts, traffic }, { ...limits, connections }).catch(
      (error: unknown) => {
        if (!(error instanceof Refusal) && !gone(request, response)) onError(error);
        fail(error, request, response);
      },
    );
  };
  const ordinary = (request: IncomingMessage, response: ServerResponse): void => listener(request, response);
  const http = tls === undefined ? createPlain(ordinary) : createSecure(tls, ordinary);
  http.on('upgrade', (request: IncomingMessage, socket: Socket, head: Buffer) =>
    listener(request, responseOn(request, socket), { socket, head, onError }),
  );
  const traffic = trafficOf(http);
  const connections = watchConnections(http, room);
  // A request is read within these limits, or its connection is closed.
  http.headersTimeout = 20_000;
  http.requestTimeout = 600_000;
  http.keepAliveTimeout = 60_000;
  http.maxHeadersCount = 100;
  // And answered: whoever does not read its answer is left.
  http.timeout = stall;
  return { http, traffic };
}

/** Whether nobody waits for an answer any more. A request that was read to its end counts as destroyed too. */
const gone = (request: IncomingMessage, response: ServerResponse): boolean =>
  response.destroyed || (request.destroyed && !request.complete);

/** Requests of one client, operator or address that are answered at a time. */
const AT_ONCE = 64;

type UpgradeRequest = Omit<Upgrade, 'delay'>;

/** A request to upgrade is answered like any other, but for the route that does upgrade; its connection then ends. */
function responseOn(request: IncomingMessage, socket: Socket): ServerResponse {
  const response = new ServerResponse(request);
  response.shouldKeepAlive = false;
  response.assignSocket(socket);
  response.on('finish', () => socket.destroySoon());
  socket.on('error', () => socket.destroy());
  return response;
}

/** Apart, so that a connection that lives long does not keep its request. */
const delayOf = (limiter: ReturnType<typeof rateLimiter>, name: string) => (): number => limiter.take(name);

async function handle(
  { request, response, upgrade }: Pick<Call, 'request' | 'response'> & { readonly upgrade?: UpgradeRequest },
  server: WholeServer,
  limits: ReturnType<typeof rateLimiter> & ReturnType<typeof roomFor> & { readonly connections: Connections },
): Promise<void> {
  const url = parsed(request.url ?? '/');
  const found = mountAt(server.mounts, url.pathname);
  const parts = found?.mount.parts;
  found?.mount.open.add(response);
  response.on('close', () => found?.mount.open.delete(response));
  try {
    const from = `address ${placeOf(request.socket.remoteAddress ?? '')}`;
    const name = (parts && caller(request, found.mount, parts)) ?? from;
    if (name !== from) limits.connections.known(request.socket, name);
    const leave = limits.enter(name);
    if (leave === undefined) {
      response.setHeader('retry-after', 1);
      throw new Refusal(429, 'rate', `${AT_ONCE} requests of yours are being answered already`);
    }
    response.on('close', leave);
    const delay = limits.take(name);
    if (delay > 0) {
      response.setHeader('retry-after', Math.ceil(delay));
      throw new Refusal(429, 'rate', 'too many requests; try again a little later');
    }
    // Its body is not read any more.
    if (upgrade && request.method !== 'GET') throw new Refusal(400, 'upgrade', 'only a GET upgrades');
    const more = upgrade && { upgrade: { ...upgrade, delay: delayOf(limits, name) } };
    const at = { request, response, url, ...more };
    if (found === undefined) await answer(at, url.pathname, ofServer, server, () => '');
    else if (parts === undefined) throw new Refusal(503, 'not-served', found.mount.why);
    else await answer(at, found.path, ofRun, parts, (about) => asker(request, about, parts));
  } catch (error) {
    if (error instanceof Refusal) parts?.monitor.refused(error.status, error.code);
    else if (!gone(request, response)) parts?.monitor.refused(500, 'server');
    throw error;
  }
}

/** @param ask who asks, where it is one of those who may */
async function answer<Parts>(
  at: Pick<Call, 'request' | 'response' | 'url' | 'upgrade'>,
  path: string,
  routes: Compiled<Parts>,
  parts: Parts,
  ask: (about: About) => string,
): Promise<void> {
  const { request, response } = at;
  const matching = routes.filter(({ matches }) => matches.test(path));
  const route = matching.find(({ method }) => method === request.method);
  if (route === undefined) {
    if (matching.length === 0) throw new Refusal(404, 'path', 'there is no such path');
    response.setHeader('allow', matching.map(({ method }) => method).join(', '));
    throw new Refusal(405, 'method', `this path takes ${matching.map(({ method }) => method).join(' and ')} only`);
  }
  const left = new AbortController();
  response.on('close', () => left.abort());
  const [, name = ''] = route.matches.exec(path)!;
  const { body } = route.about;
  const who = ask(route.about);
  // A backup or an export may take its time before it says anything.
  if (route.about.who === 'admin') request.socket.setTimeout(3_600_000);
  const sent = body === undefined || body === 'bytes' ? undefined : await message(request, body);
  const result = await route.run({ ...at, name, who, message: sent, signal: left.signal }, parts);
  if (result !== answered) send(response, 200, result);
}

/** A client by its name, an operator by its role; undefined: a stranger. */
function caller(request: IncomingMessage, { path }: Mount, { keys, operators }: HttpParts): string | undefined {
  const whoIs = [
    (key: string) => `client ${path} ${keys.who(key)}`,
    (token: string) => `operator ${path} ${operators.role(token)}`,
  ];
  for (const named of whoIs) {
    try {
      return named(bearer(request));
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
    }
  }
  return undefined;
}

function parsed(path: string): URL {
  try {
    return new URL(path, 'http://server');
  } catch {
    throw new Refusal(400, 'path', 'this is no path');
  }
}

function send(response: ServerResponse, status: number, body: unknown): void {
  const text = JSON.stringify(body);
  response
    .writeHead(status, {
      'content-type': 'application/json',
      'content-length': Buffer.byteLength(text),
      'cache-control': 'no-store',
    })
    .end(text);
}

function fail(error: unknown, request: IncomingMessage, response: ServerResponse): void {
  if (response.headersSent || response.destroyed) {
    response.destroy();
    return;
  }
  const refusal = error instanceof Refusal ? error : new Refusal(500, 'server', 'the server failed; try again');
  const { status, code, message, received } = refusal;
  // What was not read of the request would be taken for the next one.
  if (!request.complete) response.setHeader('connection', 'close');
  send(response, status, { error: { code, message }, ...(received !== undefined && { received }) });
}
