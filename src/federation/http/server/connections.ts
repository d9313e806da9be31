import { existsSync, readFileSync } from 'node:fs';
import type { Server as Plain } from 'node:http';
import type { Server as Secure } from 'node:https';
import type { Socket } from 'node:net';

/** How many connections a server has at a time. */
export interface Room {
  /** All of them. */
  readonly most: number;
  /** Those on which nobody has shown a key or token yet. */
  readonly strangers: number;
  /** Those of one client or operator that count as theirs; further ones are strangers'. */
  readonly each: number;
}

/** Who is connected to a server. */
export interface Connections {
  /** On this connection somebody has shown a key or token. */
  known(socket: Socket, name: string): void;
}

/**
 * Connections beyond `most` are refused, since a run that is left without descriptors for its files ends. And so that strangers do
 * not keep clients out, the oldest of theirs is closed for each that is too many: a client has said who it is by then.
 */
export function watchConnections(server: Plain | Secure, { most, strangers, each }: Room): Connections {
  const unknown = new Map<string, Socket>();
  const owners = new Map<string, Set<string>>();
  server.maxConnections = most;
  // Of TLS too this is the bare connection, whose handshake is still to come.
  server.on('connection', (socket: Socket) => {
    const end = endOf(socket);
    unknown.set(end, socket);
    socket.once('close', () => {
      if (unknown.get(end) === socket) unknown.delete(end);
    });
    if (unknown.size <= strangers) return;
    for (const [oldest, first] of unknown) {
      unknown.delete(oldest);
      first.destroy();
      return;
    }
  });
  return {
    known(carrier, name) {
      const end = endOf(carrier);
      const socket = unknown.get(end);
      if (socket === undefined) return;
      const own = owners.get(name) ?? new Set();
      if (own.size >= each) return;
      unknown.delete(end);
      owners.set(name, own.add(end));
      socket.once('close', () => {
        own.delete(end);
        if (own.size === 0) owners.delete(name);
      });
    },
  };
}

/** The other end, which a connection and its TLS have in common. */
const endOf = ({ remoteAddress, remotePort }: Socket): string => `${remoteAddress} ${remotePort}`;

/** Descriptors of this process that connections may take: a quarter, at most 1,024, is left for files. */
export function roomOf(descriptors: number | undefined = descriptorLimit()): Room {
  const most = descriptors === undefined ? Infinity : descriptors - Math.min(1024, Math.ceil(descriptors / 4));
  return { most, strangers: Math.min(2048, Math.floor(most / 2)), each: 64 };
}

/** undefined where there is none, or this is no Linux. */
function descriptorLimit(): number | undefined {
  if (!existsSync(LIMITS)) return undefined;
  const soft = /^Max open files +(\d+)/m.exec(readFileSync(LIMITS, 'utf8'))?.[1];
  return soft === undefined ? undefined : Number(soft);
}

const LIMITS = '/proc/self/limits';
