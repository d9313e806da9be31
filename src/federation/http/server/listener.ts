import type { AddressInfo } from 'node:net';
import { UserError } from '../../../errors.ts';
import type { HttpParts } from './call.ts';
import { httpServer, type HttpOptions } from './http.ts';
import { mountOf, type Mount } from './mounts.ts';

export interface ListenOptions extends HttpOptions {
  readonly host: string;
  /** 0: any that is free. */
  readonly port: number;
}

/** One listening socket, and the runs behind it. */
export interface Listener {
  /** Of the whole server. */
  readonly url: string;
  /** Of a certificate that was made on the spot, by which clients know it. */
  readonly fingerprint: string | undefined;
  /** From now on the run is served. Gives its address. */
  mount(name: string, parts: Omit<HttpParts, 'traffic'>): string;
  /** It is served no longer: requests under way are cut, and who asks for it is told why. */
  unmount(name: string, why: string): void;
  close(): Promise<void>;
}

/**
 * Listens for these runs, none of which is served yet. Throws UserError where it cannot.
 * @param names one that is empty for a run at the root, else of the runs below `/runs`
 */
export async function listen(names: readonly string[], options: ListenOptions): Promise<Listener> {
  const { host, port, tls } = options;
  const mounts: Mount[] = names.map(mountOf);
  const of = (name: string): Mount => mounts.find((mount) => mount.name === name)!;
  const { http, traffic } = httpServer(mounts, options);
  await new Promise<void>((done, failed) => {
    http.once('error', (error: NodeJS.ErrnoException) => {
      const why = error.code === 'EADDRINUSE' ? 'another program listens there' : error.message;
      failed(new UserError(`cannot listen on ${host}:${port}: ${why}. Choose another serve.host or serve.port.`));
    });
    http.listen({ host, port }, () => done());
  });
  const { port: actual } = http.address() as AddressInfo;
  const url = `${tls ? 'https' : 'http'}://${host.includes(':') ? `[${host}]` : host}:${actual}`;
  return {
    url,
    fingerprint: tls?.fingerprint,
    mount(name, parts) {
      const mount = of(name);
      // Connections carry requests of all runs, so their bytes are no single run's.
      mount.parts = name === '' ? { ...parts, traffic } : parts;
      return `${url}${mount.path}`;
    },
    unmount(name, why) {
      const mount = of(name);
      mount.parts?.sockets.close();
      Object.assign(mount, { parts: undefined, why });
      for (const response of mount.open) response.destroy();
    },
    async close() {
      const closed = new Promise<void>((done) => http.close(() => done()));
      for (const { parts } of mounts) parts?.sockets.close();
      http.closeAllConnections();
      await closed;
    },
  };
}
