import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { anonymousBytes } from './side.ts';

/** A process that says, a JSON line each, what it is about to do, and whose memory is looked at every 10 ms. */
export interface Watched {
  /** Waits at most an hour for the line with this `is`. */
  until(is: string): Promise<Readonly<Record<string, unknown>>>;
  /** Anonymous bytes, at this moment and at most so far. Linux only. */
  now(): number;
  peak(): number;
  /** Rejects where it ended with an error. */
  readonly ended: Promise<void>;
}

export function startWatched(script: string, args: readonly string[]): Watched {
  const child = spawn(process.execPath, [script, ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  let peak = 0;
  const now = (): number => anonymousBytes(child.pid!);
  const watch = setInterval(() => (peak = Math.max(peak, now())), 10);
  const ended = new Promise<void>((done, failed) => {
    child.once('close', (code) => {
      clearInterval(watch);
      if (code === 0) done();
      else failed(new Error(`${script} ended with ${code ?? 'a signal'}`));
    });
  });
  ended.catch(() => undefined);
  return {
    async until(is) {
      const late = new AbortController();
      const waited = sleep(3_600_000, undefined, { signal: late.signal }).then(() => {
        child.kill('SIGKILL');
        throw new Error(`${script} did not say “${is}” within an hour`);
      });
      waited.catch(() => undefined);
      try {
        for (;;) {
          const line = await Promise.race([lines.next(), waited]);
          if (line.done === true) throw new Error(`${script} ended before it said “${is}”`);
          const said = JSON.parse(line.value) as Record<string, unknown>;
          if (said['is'] === is) return said;
        }
      } finally {
        late.abort();
      }
    },
    now,
    peak: () => peak,
    ended,
  };
}
