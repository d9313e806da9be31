import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';

export interface Answer {
  readonly seconds: number;
  readonly loss: number;
}

/** One side of a comparison in a process of its own that answers a batch's number with its seconds and loss. */
export interface Side {
  readonly name: string;
  /** What it said when it was ready. */
  readonly facts: Readonly<Record<string, unknown>>;
  perform(batch: number): Promise<Answer>;
  /** The most anonymous memory seen so far, looked at every 10 ms from outside, the same way for both sides. Linux only. */
  peakBytes(): number;
  close(): Promise<void>;
}

/** Anonymous memory of a process at this moment; 0 once it has ended. Linux only. */
export function anonymousBytes(pid: number): number {
  try {
    return 1024 * Number(/RssAnon:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1] ?? 0);
  } catch {
    return 0; // it has ended
  }
}

/** Starts a side and waits, at most five minutes, until it says that it is ready. */
export async function startSide(name: string, command: string, args: readonly string[]): Promise<Side> {
  // Kernels are pinned by these on some machines for an older numerical library; neither side uses it.
  const { OPENBLAS_CORETYPE: _core, OPENBLAS_L2_SIZE: _cache, ...env } = process.env;
  const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'], env });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const next = async (limit: number): Promise<Record<string, unknown>> => {
    const late = new AbortController();
    const line = await Promise.race([
      lines.next(),
      sleep(limit, undefined, { signal: late.signal }).then(() => {
        child.kill('SIGKILL');
        throw new Error(`${name} did not answer within ${limit / 1000} s`);
      }),
    ]).finally(() => late.abort());
    if (line.done === true) throw new Error(`${name} ended without an answer`);
    return JSON.parse(line.value) as Record<string, unknown>;
  };
  const facts = await next(300_000);
  let peak = 0;
  const watch = setInterval(() => (peak = Math.max(peak, anonymousBytes(child.pid!))), 10);
  return {
    name,
    facts,
    async perform(batch) {
      child.stdin.write(`${batch}\n`);
      const { seconds, loss } = await next(600_000);
      return { seconds: seconds as number, loss: loss as number };
    },
    peakBytes: () => peak,
    async close() {
      clearInterval(watch);
      const ended = new Promise((resolve) => child.once('close', resolve));
      child.stdin.end();
      await ended;
    },
  };
}
