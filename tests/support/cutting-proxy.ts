import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import type { Random } from '../../src/tensor/random.ts';

/** Hands connections on to a server and cuts each after up to so many bytes, in the middle of a request or of its answer. */
export async function cuttingProxy(
  url: string,
  random: Random,
  most: number,
): Promise<{ readonly url: string; cuts(): number; close(): Promise<void> }> {
  const { hostname, port } = new URL(url);
  const sockets = new Set<Socket>();
  let cuts = 0;
  const server = createServer((near) => {
    const far = connect({ host: hostname, port: Number(port) });
    let left = 1 + random.integer(most);
    const cut = (): void => {
      near.destroy();
      far.destroy();
    };
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(from);
      from.on('error', cut).on('close', () => {
        sockets.delete(from);
        to.end();
      });
      from.on('data', (bytes: Buffer) => {
        to.write(bytes.subarray(0, left));
        left -= bytes.length;
        if (left > 0) return;
        cuts++;
        // What was let through arrives before the end does.
        setTimeout(cut, 5);
        from.pause();
      });
    }
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    cuts: () => cuts,
    close: () =>
      new Promise((done) => {
        server.close(() => done());
        for (const socket of sockets) socket.destroy();
      }),
  };
}
