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
  /** What is run, and what comes before its arguments. */
  readonly program: readonly [string, ...string[]];
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  /** Where everything that it says is kept. */
  readonly log: string;
}

/** The built command line, with modules loaded before it. */
export const commandLine = (main: string, imports: readonly string[]): Command['program'] => [
  process.execPath,
  ...imports.flatMap((path) => ['--import', path]),
  main,
];

/** The client in Python. */
export const pythonClient = (python: string): Command['program'] => [
  python,
  '-B',
  resolve('examples/python-client/fedlora_client.py'),
];

/** Starts a process. */
export function run({ program: [first, ...before], args, env, log }: Command): Running {
  const child = spawn(first, [...before, ...args], {
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
