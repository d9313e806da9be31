import { datasetInfo, listFiles, modelInfo } from '@huggingface/hub';
import { readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { UserError } from '../../errors.ts';
import { parseIndex } from '../safetensors-index.ts';
import {
  blobPath,
  cachedCommit,
  exists,
  hubSettings,
  isCommit,
  linkBlob,
  repoFolder,
  snapshotFiles,
  snapshotFolder,
  writeRef,
  type Environment,
  type HubSettings,
  type RepoKind,
} from './hub-cache.ts';
import { download, type DownloadOptions } from './hub-download.ts';
import { explain, hubFetch, Unreachable } from './hub-http.ts';
import { takeLock } from './hub-lock.ts';
import { INDEX_FILE, SINGLE_FILE } from './safetensors.ts';

export interface HubRequest {
  readonly kind: RepoKind;
  /** `org/name`. */
  readonly id: string;
  /** A branch, a tag or a commit; default `main`. */
  readonly revision?: string;
  readonly signal?: AbortSignal;
  /** Default process.env. */
  readonly env?: Environment;
  /** Patience of downloads; for tests. */
  readonly limits?: Pick<DownloadOptions, 'tries' | 'pause' | 'silenceMs'>;
}

/** What happens while a repository is fetched: bytes there of all wanted, or something to tell the user. */
export type HubProgress =
  | { readonly kind: 'bytes'; readonly file: string; readonly done: number; readonly total: number }
  | { readonly kind: 'notice'; readonly message: string };

interface Entry {
  readonly path: string;
  readonly size: number;
  readonly oid?: string;
  readonly lfs?: { readonly oid: string };
}

/** The small files of a model: configuration, tokenizer, template. */
const modelFile =
  /^((config|generation_config|special_tokens_map|added_tokens)\.json|tokenizer[^/]*\.(json|model)|chat_template[^/]*)$/;
const dataFile = /\.(jsonl?|ndjson)$/;

/** A server's path is joined to a folder here: nothing that could leave it. */
const isPlainPath = (path: string): boolean =>
  path !== '' && !/[\\\0]/.test(path) && path.split('/').every((part) => !['', '.', '..'].includes(part));

function checkId(id: string, revision: string): void {
  if (!/^[\w.-]+(\/[\w.-]+)?$/.test(id) || id.includes('..') || id.includes('--'))
    throw new UserError(
      `hub: ${JSON.stringify(id)} is not the name of a repository, such as HuggingFaceTB/SmolLM2-135M`,
    );
  if (!/^[\w./-]+$/.test(revision) || !isPlainPath(revision))
    throw new UserError(`hub: ${JSON.stringify(revision)} is not the name of a branch, a tag or a commit`);
}

/** What a snapshot lacks to be used, in words; undefined where it is whole. */
async function lacks(kind: RepoKind, snapshot: string): Promise<string | undefined> {
  const files = new Set(await snapshotFiles(snapshot));
  if (kind === 'dataset') return [...files].some((f) => dataFile.test(f)) ? undefined : 'a data file';
  for (const name of ['config.json', 'tokenizer.json']) if (!files.has(name)) return name;
  if (files.has(SINGLE_FILE)) return undefined;
  if (!files.has(INDEX_FILE)) return SINGLE_FILE;
  const shards = parseIndex(await readFile(join(snapshot, INDEX_FILE), 'utf8'), join(snapshot, INDEX_FILE));
  return [...shards.keys()].find((shard) => !files.has(shard));
}

async function fromCache(request: HubRequest, settings: HubSettings, why: string): Promise<string> {
  const { kind, id, revision = 'main' } = request;
  const repo = repoFolder(settings.cache, kind, id);
  const commit = await cachedCommit(repo, revision);
  const advice = `fetch it once with the network, or give the path of a local folder`;
  if (commit === undefined || !(await exists(snapshotFolder(repo, commit))))
    throw new UserError(`${kind} ${id} (${revision}) is not in the cache ${settings.cache}, and ${why}: ${advice}`);
  const missing = await lacks(kind, snapshotFolder(repo, commit));
  if (missing !== undefined)
    throw new UserError(
      `${kind} ${id} (${revision}) in the cache ${settings.cache} lacks ${missing}, and ${why}: ${advice}`,
    );
  return snapshotFolder(repo, commit);
}

/** Fetches files of a commit into the cache, one after the other, those of `entries` that are not there. */
async function* fetchFiles(
  entries: readonly Entry[],
  request: HubRequest,
  settings: HubSettings,
  commit: string,
): AsyncGenerator<HubProgress, void> {
  const { kind, id, signal, limits } = request;
  const repo = repoFolder(settings.cache, kind, id);
  const options = { ...limits, ...(signal && { signal }), fetch: hubFetch(settings, signal, limits?.silenceMs) };
  const total = entries.reduce((sum, { size }) => sum + size, 0);
  let done = 0;
  for (const { path, size, oid, lfs } of entries) {
    const value = lfs?.oid ?? oid ?? '';
    if (!/^[0-9a-f]{40,64}$/.test(value)) throw new Error(`${kind} ${id}: the Hub gives no hash for ${path}`);
    const pointer = join(snapshotFolder(repo, commit), path);
    if (!(await exists(pointer))) {
      const release = await takeLock(join(settings.cache, '.locks', basename(repo), `${value}.fedlora`), signal);
      try {
        const blob = blobPath(repo, value);
        const url = `${settings.endpoint}/${kind === 'dataset' ? 'datasets/' : ''}${id}/resolve/${commit}/${path.split('/').map(encodeURIComponent).join('/')}`;
        const remote = { url, size, hash: { kind: lfs === undefined ? ('git' as const) : ('sha256' as const), value } };
        if (!(await exists(blob)))
          for await (const bytes of download(remote, blob, options))
            yield { kind: 'bytes', file: path, done: done + bytes, total };
        await linkBlob(blob, pointer);
      } finally {
        await release();
      }
    }
    done += size;
    yield { kind: 'bytes', file: path, done, total };
  }
}

/** The files of a repository that are wanted, in their order: of a model without its weights' shards, which the index names. */
function wanted(kind: RepoKind, files: readonly Entry[], what: string): Entry[] {
  if (kind === 'dataset') {
    const data = files.filter(({ path }) => dataFile.test(path));
    if (data.length > 0) return data;
    throw new UserError(`${what}: has no .jsonl or .json file; it has ${some(files)}`);
  }
  const weights = files.find(({ path }) => path === SINGLE_FILE) ?? files.find(({ path }) => path === INDEX_FILE);
  if (weights === undefined)
    throw new UserError(
      `${what}: has neither ${SINGLE_FILE} nor ${INDEX_FILE}; only safetensors are read. It has ${some(files)}`,
    );
  return [...files.filter(({ path }) => modelFile.test(path)), weights];
}

const some = (files: readonly Entry[]): string =>
  files.length === 0
    ? 'no files'
    : files
        .slice(0, 8)
        .map(({ path }) => path)
        .join(', ') + (files.length > 8 ? ' …' : '');

async function* fetchRepo(
  request: HubRequest,
  settings: HubSettings,
  what: string,
): AsyncGenerator<HubProgress, string> {
  const { kind, id, revision = 'main', signal, limits } = request;
  const ask = { fetch: hubFetch(settings, signal, limits?.silenceMs), hubUrl: settings.endpoint, revision };
  const about = { ...ask, name: id, additionalFields: ['sha' as const] };
  const { sha: commit } = await (kind === 'model' ? modelInfo(about) : datasetInfo(about));
  if (typeof commit !== 'string' || !isCommit(commit)) throw new Error(`${what}: the Hub gives no commit`);
  const repo = repoFolder(settings.cache, kind, id);
  const snapshot = snapshotFolder(repo, commit);
  const files: Entry[] = [];
  for await (const entry of listFiles({ ...ask, repo: { type: kind, name: id }, revision: commit, recursive: true }))
    if (entry.type === 'file' && isPlainPath(entry.path)) files.push(entry);
  const first = wanted(kind, files, what);
  const index = first.find(({ path }) => path === INDEX_FILE);
  const shards: Entry[] = [];
  if (kind === 'model' && index !== undefined) {
    yield* fetchFiles([index], request, settings, commit);
    const where = join(snapshot, INDEX_FILE);
    for (const shard of parseIndex(await readFile(where, 'utf8'), where).keys()) {
      const entry = files.find(({ path }) => path === shard);
      if (entry === undefined)
        throw new UserError(`${what}: ${INDEX_FILE} names ${shard}, which the repository does not have`);
      shards.push(entry);
    }
  }
  yield* fetchFiles([...first, ...shards], request, settings, commit);
  const missing = await lacks(kind, snapshot);
  if (missing !== undefined) throw new UserError(`${what}: the repository has no ${missing}`);
  // Last, so that an interrupted update leaves the revision that was whole.
  await writeRef(repo, revision, commit);
  return snapshot;
}

/**
 * The local folder of a model or data set of the Hugging Face Hub, fetched into the cache that Python's huggingface_hub uses where
 * it is not there: of a model config, tokenizer, chat template and safetensors, of a data set .jsonl and .json. Downloads go on
 * where they stopped and are checked by hash. A pinned commit that is there needs no network; with HF_HUB_OFFLINE nothing does.
 * Environment: HF_TOKEN, HF_HOME, HF_HUB_CACHE, HF_ENDPOINT, HF_HUB_OFFLINE. Throws UserError for names that do not exist or may
 * not be read, Error for a network that fails.
 */
export async function* resolveHub(request: HubRequest): AsyncGenerator<HubProgress, string> {
  const { kind, id, revision = 'main', env = process.env } = request;
  checkId(id, revision);
  const settings = await hubSettings(env);
  const what = `${kind} ${id}${revision === 'main' ? '' : ` (${revision})`}`;
  if (settings.offline) return fromCache(request, settings, 'HF_HUB_OFFLINE is set');
  const pinned = snapshotFolder(repoFolder(settings.cache, kind, id), revision);
  if (kind === 'model' && isCommit(revision) && (await lacks(kind, pinned)) === undefined) return pinned;
  try {
    return yield* fetchRepo(request, settings, what);
  } catch (error) {
    if (!(error instanceof Unreachable)) throw explain(error, what, settings);
    const cached = await fromCache(request, settings, error.message).catch(() => undefined);
    if (cached === undefined) throw explain(error, what, settings);
    yield { kind: 'notice', message: `${what}: ${error.message}; the copy in the cache is used: ${cached}` };
    return cached;
  }
}
