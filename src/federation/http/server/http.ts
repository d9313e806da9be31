import { createServer as createPlain, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createSecure } from 'node:https';
import { Refusal } from '../refusal.ts';
import { answered, asker, bearer, message, type HttpParts } from './call.ts';
import { rateLimiter } from './limits.ts';
import { openApiRoute } from './openapi.ts';
import { operatorRoutes } from './operator-routes.ts';
import { routes } from './routes.ts';
import { trafficOf } from './traffic.ts';

const all = [...routes, ...operatorRoutes, openApiRoute].map((route) => ({
  ...route,
  matches: new RegExp(`^${route.path.replace('.', '\\.').replace(/\{\w+\}/, '([^/]+)')}$`),
}));

/** The server, not yet listening. Every answer is JSON but payloads; every refusal says why. */
export function httpServer(given: Omit<HttpParts, 'traffic'>): Server {
  const parts: HttpParts = { ...given, traffic: () => traffic() };
  const limiter = rateLimiter(parts.rate ?? { perSecond: 100, burst: 400 });
  const listener = (request: IncomingMessage, response: ServerResponse): void => {
    handle(request, response, parts, limiter).catch((error: unknown) => fail(error, request, response, parts));
  };
  const server = parts.tls === undefined ? createPlain(listener) : createSecure(parts.tls, listener);
  const traffic = trafficOf(server);
  // A request is read within these limits, or its connection is closed.
  server.headersTimeout = 20_000;
  server.requestTimeout = 600_000;
  server.keepAliveTimeout = 60_000;
  server.maxHeadersCount = 100;
  return server;
}

async function handle(
  request: IncomingMessage,
  response: ServerResponse,
  parts: HttpParts,
  limiter: ReturnType<typeof rateLimiter>,
): Promise<void> {
  const delay = limiter.take(caller(request, parts));
  if (delay > 0) {
    response.setHeader('retry-after', Math.ceil(delay));
    throw new Refusal(429, 'rate', 'too many requests; try again a little later');
  }
  const url = parsed(request.url ?? '/');
  const matching = all.filter(({ matches }) => matches.test(url.pathname));
  const route = matching.find(({ method }) => method === request.method);
  if (route === undefined) {
    if (matching.length === 0) throw new Refusal(404, 'path', 'there is no such path');
    response.setHeader('allow', matching.map(({ method }) => method).join(', '));
    throw new Refusal(405, 'method', `this path takes ${matching.map(({ method }) => method).join(' and ')} only`);
  }
  const gone = new AbortController();
  response.on('close', () => gone.abort());
  const [, name = ''] = route.matches.exec(url.pathname)!;
  const { body } = route.about;
  const who = asker(request, route.about, parts);
  const sent = body === undefined || body === 'bytes' ? undefined : await message(request, body);
  const result = await route.run({ request, response, url, name, who, message: sent, signal: gone.signal }, parts);
  if (result !== answered) send(response, 200, result);
}

/** A client by its name, an operator by its role, a stranger by where it comes from. */
function caller(request: IncomingMessage, { keys, operators }: HttpParts): string {
  const whoIs = [(key: string) => `client ${keys.who(key)}`, (token: string) => `operator ${operators.role(token)}`];
  for (const named of whoIs) {
    try {
      return named(bearer(request));
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
    }
  }
  return `address ${request.socket.remoteAddress ?? ''}`;
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

function fail(
  error: unknown,
  request: IncomingMessage,
  response: ServerResponse,
  { onError, monitor }: HttpParts,
): void {
  const refusal = error instanceof Refusal ? error : undefined;
  if (refusal !== undefined) monitor.refused(refusal.status, refusal.code);
  if (refusal === undefined && !response.destroyed && !request.destroyed) onError(error);
  if (response.headersSent || response.destroyed) {
    response.destroy();
    return;
  }
  const { status, code, message, received } = refusal ?? new Refusal(500, 'server', 'the server failed; try again');
  // What was not read of the request would be taken for the next one.
  if (!request.complete) response.setHeader('connection', 'close');
  send(response, status, { error: { code, message }, ...(received !== undefined && { received }) });
}
