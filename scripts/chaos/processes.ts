import { spawn } from 'node:child_process';
import { appendFileSync } from 'node:fs';
import { resolve } from 'node:path';

export interface Exit {
  readonly code: number | null;
  /** Whether the harness killed it. */
  readonly killed: boolean;
  /** All it said, to both of its streams. */
  readonly said: string;
}

export interface Running {
  readonly ended: Promise<Exit>;
  readonly said: () => string;
  /** kill -9. */
  kill(): void;
}

export interface Command {
  /** The built command line. */
  readonly main: string;
  readonly args: readonly string[];
  /** Modules loaded before it. */
  readonly imports: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  /** Where everything that it says is kept. */
  readonly log: string;
}

/** Starts a process of the command line. */
export function run({ main, args, imports, env, log }: Command): Running {
  const child = spawn(process.execPath, [...imports.flatMap((path) => ['--import', path]), main, ...args], {
    env: { ...process.env, NO_COLOR: '1', FEDLORA_DEBUG: '', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let said = '';
  let killed = false;
  const hear = (text: string): void => {
    said += text;
    appendFileSync(log, text);
  };
  child.stdout.setEncoding('utf8').on('data', hear);
  child.stderr.setEncoding('utf8').on('data', hear);
  const ended = new Promise<Exit>((done, failed) => {
    child.once('error', failed);
    child.once('close', (code) => done({ code, killed, said }));
  });
  return {
    ended,
    said: () => said,
    kill() {
      killed = child.exitCode === null && child.signalCode === null;
      child.kill('SIGKILL');
    },
  };
}

export const clockModule = resolve('scripts/chaos/clock.mjs');
export const diskModule = resolve('tests/support/full-disk.mjs');
