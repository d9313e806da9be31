import { existsSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { UserError } from '../errors.ts';
import { openDatabase } from '../federation/database.ts';
import { openApi, type Api } from '../federation/http/client/api.ts';
import { Refusal } from '../federation/http/refusal.ts';
import { requireEncryption, trustOf } from './address.ts';
import { readKey } from './join-key.ts';
import { refusedToUser, type JoinOptions } from './join.ts';

/** Where the client takes part, as it was said to `join`. */
export interface LeaveOptions extends Pick<JoinOptions, 'url' | 'out' | 'fingerprint' | 'patience' | 'signal'> {
  /** Whether the client's own files stay as they are. */
  readonly keep?: boolean;
}

/** What became of leaving. */
export interface Left {
  /** The client's folder. */
  readonly out: string;
  /** False where the key was not valid there any more: an earlier call was cut short, or the server had ended this client's part. */
  readonly wasThere: boolean;
}

/** What a client keeps that is of use in the run only. The key is last: with it a call that is cut short can be repeated. */
const OWN = ['journal.sqlite', 'journal.sqlite-wal', 'journal.sqlite-shm', 'payloads', 'incoming', 'key.json'];

/**
 * Ends a client's part in a run for good: the server revokes its key and deletes what it has of this client alone; then the client's
 * key, private states and payloads are deleted here. Personal adapters stay. The same call goes on after a kill. Throws UserError
 * where there is no key, or a process is using it, and `Unreachable` where patience ends: then nothing was deleted here.
 */
export async function leave(options: LeaveOptions): Promise<Left> {
  const { url, patience, keep = false, signal = new AbortController().signal } = options;
  requireEncryption(url);
  const trust = trustOf(options);
  const open = (key?: string): Api =>
    openApi({ url, patience, signal, ...(trust && { fetch: trust.fetch }), ...(key !== undefined && { key }) });
  const { run } = await refusedToUser(open().describe());
  const out = resolve(options.out ?? join('runs', `joined-${run.slice(0, 8)}`));
  const saved = await readKey(out, run);
  if (saved === undefined)
    throw new UserError(`${out} has no key for this run: give the folder with which you joined with --out`);
  requireIdle(out);
  const wasThere = await told(open(saved.key));
  if (!keep) for (const name of OWN) await rm(join(out, name), { recursive: true, force: true });
  return { out, wasThere };
}

/** Throws UserError where another process is at work in this folder. */
function requireIdle(out: string): void {
  const path = join(out, 'journal.sqlite');
  if (existsSync(path)) openDatabase(path).close();
}

async function told(api: Api): Promise<boolean> {
  try {
    await api.leave();
    return true;
  } catch (error) {
    if (error instanceof Refusal && ['revoked', 'key'].includes(error.code)) return false;
    return refusedToUser(Promise.reject(error as Error));
  }
}
