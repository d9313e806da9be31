import type { Server as Plain } from 'node:http';
import { Server as Secure } from 'node:https';
import type { Socket } from 'node:net';

/** Bytes of all connections of a server since it started, headers included; what TLS adds is not counted. */
export interface Traffic {
  readonly in: number;
  readonly out: number;
}

/** Counts a server's bytes from now on. */
export function trafficOf(server: Plain | Secure): () => Traffic {
  const open = new Set<Socket>();
  const closed = { in: 0, out: 0 };
  const add = (sum: { in: number; out: number }, { bytesRead, bytesWritten }: Socket): void => {
    sum.in += bytesRead;
    sum.out += bytesWritten;
  };
  server.on(server instanceof Secure ? 'secureConnection' : 'connection', (socket: Socket) => {
    open.add(socket);
    socket.once('close', () => {
      open.delete(socket);
      add(closed, socket);
    });
  });
  return () => {
    const sum = { ...closed };
    for (const socket of open) add(sum, socket);
    return sum;
  };
}
