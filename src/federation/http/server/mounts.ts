import type { ServerResponse } from 'node:http';
import type { HttpParts } from './call.ts';
import type { Traffic } from './traffic.ts';

/** A run's place on a server: the root of a server with one run, `/runs/NAME` of one with several. */
export interface Mount {
  /** Empty at the root. */
  readonly name: string;
  readonly path: string;
  /** What answers for it; undefined while it is not served. */
  parts: HttpParts | undefined;
  /** Why it is not served. */
  why: string;
  /** Requests that are being answered. */
  readonly open: Set<ServerResponse>;
}

/** A whole server, as its own routes see it. */
export interface WholeServer {
  readonly mounts: readonly Mount[];
  readonly traffic: () => Traffic;
}

export const mountOf = (name: string): Mount => ({
  name,
  path: name === '' ? '' : `/runs/${name}`,
  parts: undefined,
  why: 'the server is starting; try again',
  open: new Set(),
});

/** Tells of all runs, at the root of every server. */
export const RUNS = '/v1/runs';

/** The run that a path belongs to, and the path within it; undefined where it is the whole server's. */
export function mountAt(
  mounts: readonly Mount[],
  path: string,
): { readonly mount: Mount; readonly path: string } | undefined {
  if (path === RUNS) return undefined;
  const mount = mounts.find((one) => path.startsWith(`${one.path}/`));
  return mount && { mount, path: path.slice(mount.path.length) };
}
