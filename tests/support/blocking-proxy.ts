import { createServer, request as ask, type IncomingMessage } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';

/** A proxy of HTTP that takes no upgrade, as some before a server do: it answers 403. Counts what was asked. */
export async function blockingProxy(
  url: string,
): Promise<{ readonly url: string; readonly paths: string[]; upgrades(): number; close(): Promise<void> }> {
  const { hostname, port } = new URL(url);
  const paths: string[] = [];
  let upgrades = 0;
  const server = createServer((near, answer) => {
    paths.push(near.url ?? '');
    const { method = 'GET', url: path = '/', headers } = near;
    const far = ask({ hostname, port, method, path, headers }, (response: IncomingMessage) => {
      answer.writeHead(response.statusCode ?? 502, response.headers);
      response.pipe(answer);
    });
    far.on('error', () => answer.destroy());
    answer.on('close', () => far.destroy());
    near.pipe(far);
  });
  server.on('upgrade', (_, socket: Socket) => {
    upgrades++;
    socket.end('HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: 0\r\n\r\n');
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    paths,
    upgrades: () => upgrades,
    close: () =>
      new Promise((done) => {
        server.close(() => done());
        server.closeAllConnections();
      }),
  };
}
