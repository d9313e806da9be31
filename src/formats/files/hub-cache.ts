import { copyFile, link, mkdir, readdir, readFile, stat, symlink } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, join, relative, resolve } from 'node:path';
import { UserError } from '../../errors.ts';
import { writeAtomically } from './atomic.ts';
import { textOfFile } from './read.ts';

/** Environment variables, as huggingface_hub reads them. */
export type Environment = Readonly<Record<string, string | undefined>>;

export type RepoKind = 'model' | 'dataset';

export interface HubSettings {
  /** HF_ENDPOINT, without a slash at the end. */
  readonly endpoint: string;
  /** HF_HUB_CACHE, HF_HOME/hub or ~/.cache/huggingface/hub. */
  readonly cache: string;
  /** HF_TOKEN, or what `hf auth login` has stored. */
  readonly token: string | undefined;
  /** HF_HUB_OFFLINE. */
  readonly offline: boolean;
}

const isTrue = (value: string | undefined): boolean => /^(1|on|yes|true)$/i.test(value ?? '');

/** The settings that huggingface_hub would use with this environment, so that both share one cache. Throws UserError for an endpoint that is no URL. */
export async function hubSettings(env: Environment): Promise<HubSettings> {
  const set = (name: string): string | undefined => (env[name] === '' ? undefined : env[name]);
  const home = set('HF_HOME') ?? join(set('XDG_CACHE_HOME') ?? join(homedir(), '.cache'), 'huggingface');
  const endpoint = (set('HF_ENDPOINT') ?? 'https://huggingface.co').replace(/\/+$/, '');
  if (!URL.canParse(endpoint) || !/^https?:$/.test(new URL(endpoint).protocol))
    throw new UserError(
      `HF_ENDPOINT ${JSON.stringify(endpoint)} is not an http(s) URL, such as https://huggingface.co`,
    );
  const stored = (): Promise<string | undefined> =>
    textOfFile(set('HF_TOKEN_PATH') ?? join(home, 'token')).catch(() => undefined);
  const token = (set('HF_TOKEN') ?? set('HUGGING_FACE_HUB_TOKEN') ?? (await stored()))?.trim();
  return {
    endpoint,
    cache: resolve(set('HF_HUB_CACHE') ?? set('HUGGINGFACE_HUB_CACHE') ?? join(home, 'hub')),
    token: token === '' ? undefined : token,
    offline: isTrue(set('HF_HUB_OFFLINE') ?? set('TRANSFORMERS_OFFLINE')),
  };
}

/** `models--org--name` or `datasets--org--name` in the cache. */
export const repoFolder = (cache: string, kind: RepoKind, id: string): string =>
  join(cache, `${kind}s--${id.replaceAll('/', '--')}`);

export const snapshotFolder = (repo: string, commit: string): string => join(repo, 'snapshots', commit);
export const blobPath = (repo: string, hash: string): string => join(repo, 'blobs', hash);

export const isCommit = (revision: string): boolean => /^[0-9a-f]{40}$/.test(revision);

/** The commit that a branch or tag stood for when it was last fetched; a commit stands for itself. Undefined where it is not known. */
export async function cachedCommit(repo: string, revision: string): Promise<string | undefined> {
  if (isCommit(revision)) return revision;
  const text = await readFile(join(repo, 'refs', revision), 'utf8').catch(() => undefined);
  const commit = text?.trim();
  return commit !== undefined && isCommit(commit) ? commit : undefined;
}

export async function writeRef(repo: string, revision: string, commit: string): Promise<void> {
  if (!isCommit(revision)) await writeAtomically(join(repo, 'refs', revision), commit);
}

export const exists = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    () => false,
  );

/** Files of a snapshot whose blobs are there, by their paths in the repository, sorted. */
export async function snapshotFiles(snapshot: string): Promise<string[]> {
  const entries = await readdir(snapshot, { recursive: true }).catch(() => []);
  const files: string[] = [];
  for (const entry of entries)
    if ((await stat(join(snapshot, entry)).catch(() => undefined))?.isFile() === true)
      files.push(entry.replaceAll('\\', '/'));
  return files.sort((a, b) => (a < b ? -1 : 1));
}

/** Makes a snapshot's file point to a blob: a relative symbolic link as huggingface_hub makes, where that is not allowed a hard link or a copy. */
export async function linkBlob(blob: string, pointer: string): Promise<void> {
  await mkdir(dirname(pointer), { recursive: true });
  const isThere = async (): Promise<boolean> => exists(pointer);
  const ways = [
    () => symlink(relative(dirname(pointer), blob), pointer),
    () => link(blob, pointer),
    () => copyFile(blob, pointer),
  ];
  for (const [i, way] of ways.entries()) {
    if (await isThere()) return;
    try {
      return await way();
    } catch (error) {
      // Another process may have made it meanwhile.
      if (i === ways.length - 1 && !(await isThere())) throw error;
    }
  }
}
