import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** A repository as the test Hub serves it. Files of `large` are kept as the Hub keeps large ones: elsewhere, by SHA-256. */
export interface HubRepo {
  readonly kind: 'model' | 'dataset';
  readonly id: string;
  readonly commit: string;
  readonly files: Readonly<Record<string, string | Uint8Array>>;
  readonly large?: readonly string[];
  /** Only with this token. */
  readonly token?: string;
}

/** What goes wrong with the next answers for a file: cut after so many bytes, hang, an error status, other bytes. */
export type Fault = { cut: number } | { status: number } | 'hang' | 'wrong' | 'no-ranges';

export interface TestHub {
  readonly endpoint: string;
  /** `METHOD path [range]` of every request, the storage host's with `storage:` in front. */
  readonly requests: string[];
  /** Authorization headers that the storage host saw. */
  readonly leaked: string[];
  readonly faults: Map<string, Fault[]>;
  /** Replaces a repository, e.g. by a later commit. */
  publish(repo: HubRepo): void;
  close(): Promise<void>;
}

const bytesOf = (content: string | Uint8Array): Buffer => Buffer.from(content);
const gitHash = (content: Buffer): string =>
  createHash('sha1').update(`blob ${content.length}\0`).update(content).digest('hex');
const sha256 = (content: Buffer): string => createHash('sha256').update(content).digest('hex');

async function listen(server: Server): Promise<string> {
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

function sendFile(request: IncomingMessage, response: ServerResponse, content: Buffer, fault: Fault | undefined): void {
  if (fault === 'hang') return;
  if (typeof fault === 'object' && 'status' in fault) {
    response.writeHead(fault.status).end('out of order');
    return;
  }
  const range = fault === 'no-ranges' ? undefined : /^bytes=(\d+)-$/.exec(request.headers.range ?? '');
  const from = Number(range?.[1] ?? 0);
  const body = fault === 'wrong' ? Buffer.from(content.subarray(from).map((b) => b ^ 1)) : content.subarray(from);
  response.writeHead(range ? 206 : 200, {
    'Content-Length': body.length,
    ...(range && { 'Content-Range': `bytes ${from}-${content.length - 1}/${content.length}` }),
  });
  if (typeof fault === 'object') {
    response.write(body.subarray(0, fault.cut), () => response.destroy());
    return;
  }
  response.end(body);
}

/**
 * A Hub on the loopback, as a user's mirror would be: repository information, paged file lists, and files, the large ones redirected
 * to a second host.
 */
export async function startHub(...repos: HubRepo[]): Promise<TestHub> {
  const byName = new Map<string, HubRepo>();
  const publish = (repo: HubRepo): void => void byName.set(`${repo.kind}s/${repo.id}`, repo);
  for (const repo of repos) publish(repo);
  const requests: string[] = [];
  const leaked: string[] = [];
  const faults = new Map<string, Fault[]>();
  const json = (
    response: ServerResponse,
    status: number,
    value: unknown,
    headers: Record<string, string> = {},
  ): void => {
    response.writeHead(status, { 'Content-Type': 'application/json', ...headers }).end(JSON.stringify(value));
  };
  const log = (request: IncomingMessage, host = ''): URL => {
    const url = new URL(request.url ?? '/', 'http://x');
    requests.push(
      `${host}${request.method} ${url.pathname}${request.headers.range ? ` ${request.headers.range}` : ''}`,
    );
    return url;
  };
  const storage = createServer((request, response) => {
    const url = log(request, 'storage:');
    if (request.headers.authorization !== undefined) leaked.push(request.headers.authorization);
    const [, kind, org, name, ...path] = url.pathname.split('/');
    const repo = byName.get(`${kind}/${org}/${name}`)!;
    const file = path.join('/');
    sendFile(request, response, bytesOf(repo.files[file]!), faults.get(file)?.shift());
  });
  const storageEndpoint = await listen(storage);
  let endpoint = '';
  const hub = createServer((request, response) => {
    const url = log(request);
    const api = /^\/api\/(models|datasets)\/([^/]+\/[^/]+)\/(revision|tree)\/([^/]+)$/.exec(url.pathname);
    const resolve = /^\/(datasets\/)?([^/]+\/[^/]+)\/resolve\/([^/]+)\/(.+)$/.exec(url.pathname);
    const repo = byName.get(
      api ? `${api[1]}/${api[2]}` : `${resolve?.[1] === undefined ? 'models' : 'datasets'}/${resolve?.[2]}`,
    );
    if (repo === undefined) return json(response, 401, { error: 'Invalid username or password.' });
    if (repo.token !== undefined && request.headers.authorization !== `Bearer ${repo.token}`)
      return json(response, request.headers.authorization === undefined ? 401 : 403, {
        error: `Access to ${repo.kind} ${repo.id} is restricted`,
      });
    const revision = decodeURIComponent(api?.[4] ?? resolve?.[3] ?? '');
    if (!['main', repo.commit].includes(revision)) return json(response, 404, { error: `Invalid rev id: ${revision}` });
    if (api?.[3] === 'revision')
      return json(response, 200, {
        _id: '1',
        id: repo.id,
        sha: repo.commit,
        private: false,
        lastModified: '2026-01-01',
      });
    if (api !== null) {
      const entries = Object.entries(repo.files).map(([path, content]) => {
        const bytes = bytesOf(content);
        const large = repo.large?.includes(path) === true;
        const lfs = large ? { lfs: { oid: sha256(bytes), size: bytes.length, pointerSize: 134 } } : {};
        return { type: 'file', path, size: bytes.length, oid: gitHash(large ? Buffer.from('pointer') : bytes), ...lfs };
      });
      // Two pages, as long lists have.
      const second = url.searchParams.get('cursor') !== null;
      const half = Math.ceil(entries.length / 2);
      const page = second
        ? entries.slice(half)
        : [{ type: 'directory', path: 'sub', size: 0, oid: '0' }, ...entries.slice(0, half)];
      return json(response, 200, page, second ? {} : { Link: `<${endpoint}${url.pathname}?cursor=1>; rel="next"` });
    }
    const path = decodeURIComponent(resolve?.[4] ?? '');
    const content = repo.files[path];
    if (content === undefined) return json(response, 404, { error: 'Entry not found' });
    const bytes = bytesOf(content);
    response.setHeader('X-Repo-Commit', repo.commit);
    if (repo.large?.includes(path) === true) {
      response.writeHead(302, {
        Location: `${storageEndpoint}/${repo.kind}s/${repo.id}/${path}`,
        'X-Linked-Size': bytes.length,
        'X-Linked-ETag': `"${sha256(bytes)}"`,
      });
      response.end();
      return;
    }
    response.setHeader('ETag', `"${gitHash(bytes)}"`);
    sendFile(request, response, bytesOf(content), faults.get(path)?.shift());
  });
  endpoint = await listen(hub);
  return {
    endpoint,
    requests,
    leaked,
    faults,
    publish,
    async close() {
      for (const server of [hub, storage]) {
        server.closeAllConnections();
        await new Promise<void>((resolve) => {
          server.close(() => resolve());
        });
      }
    },
  };
}
