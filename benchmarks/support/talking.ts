import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';

type Line = Readonly<Record<string, unknown>>;

/** A process that is told and says JSON objects, one a line; each of its lines has `is`. */
export interface Talking {
  tell(line: object | string): void;
  /** The next line, which must have this `is`, within so many seconds. */
  next(is: string, seconds?: number): Promise<Line>;
  /** Bytes of anonymous memory now, and the most so far where looked at ten times a second. Linux only; 0 elsewhere. */
  memory(): { readonly now: number; readonly peak: number };
  /** Seconds of processor time so far. Linux only. */
  processor(): number;
  /** Ends its input and waits for its end. */
  close(): Promise<void>;
  kill(): void;
}

const field = (pid: number, name: string): number => {
  try {
    return (
      1024 *
      Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1] ?? 0)
    );
  } catch {
    return 0; // it has ended, or this is no Linux
  }
};

export function talkTo(command: string, args: readonly string[]): Talking {
  const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  const pid = child.pid!;
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  let peak = 0;
  const watch = setInterval(() => (peak = Math.max(peak, field(pid, 'RssAnon'))), 100);
  const closed = new Promise<number | null>((done) => child.once('close', done)).finally(() => clearInterval(watch));
  child.stdin.on('error', () => undefined); // it has ended, which `next` tells
  return {
    tell: (line) => void child.stdin.write(`${JSON.stringify(line)}\n`),
    async next(is, seconds = 600) {
      let timer: NodeJS.Timeout | undefined;
      const late = new Promise<never>((_, failed) => {
        timer = setTimeout(() => {
          child.kill('SIGKILL');
          failed(new Error(`${args[0]} did not say “${is}” within ${seconds} s`));
        }, seconds * 1000);
      });
      try {
        const line = await Promise.race([lines.next(), late]);
        if (line.done === true) throw new Error(`${args[0]} ended before it said “${is}”`);
        const said = JSON.parse(line.value) as Line;
        if (said['is'] !== is) throw new Error(`${args[0]} said ${line.value.slice(0, 200)} in place of “${is}”`);
        return said;
      } finally {
        clearTimeout(timer);
      }
    },
    memory: () => {
      const now = field(pid, 'RssAnon');
      return { now, peak: Math.max(peak, now) };
    },
    processor() {
      const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
      const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      return (Number(fields[11]) + Number(fields[12])) / 100;
    },
    async close() {
      child.stdin.end();
      const code = await closed;
      if (code !== 0) throw new Error(`${args[0]} ended with ${code ?? 'a signal'}`);
    },
    kill: () => void child.kill('SIGKILL'),
  };
}
