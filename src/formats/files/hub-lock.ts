import { mkdir, open, rm, stat, utimes } from 'node:fs/promises';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/** A lock that its owner has not touched for so long belongs to a process that died. */
const STALE_MS = 60_000;
const TOUCH_MS = 10_000;

/**
 * Takes a lock file, so that several processes which want one blob download it once; returns what gives it back. Waits for a
 * living owner until the signal, and takes over a dead one's lock.
 */
export async function takeLock(path: string, signal?: AbortSignal, staleMs = STALE_MS): Promise<() => Promise<void>> {
  await mkdir(dirname(path), { recursive: true });
  for (;;) {
    signal?.throwIfAborted();
    try {
      await (await open(path, 'wx')).close();
      break;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    }
    const touched = await stat(path).catch(() => undefined);
    if (touched !== undefined && Date.now() - touched.mtimeMs > staleMs) await rm(path, { force: true });
    else await sleep(Math.min(250, staleMs / 4), undefined, signal === undefined ? {} : { signal });
  }
  const beat = setInterval(() => {
    const now = new Date();
    utimes(path, now, now).catch(() => undefined);
  }, TOUCH_MS);
  return async () => {
    clearInterval(beat);
    await rm(path, { force: true });
  };
}
