import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';

const main = resolve(import.meta.dirname, '../../dist/cli/main.js');

export interface Ended {
  /** Exit code, or null where a signal ended it. */
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Started {
  readonly child: ChildProcess;
  readonly ended: Promise<Ended>;
}

export interface CliOptions {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** Modules loaded before the command line, e.g. one that makes the disk full. */
  readonly imports?: readonly string[];
  readonly input?: string;
  /** Milliseconds until it is killed. */
  readonly limit?: number;
}

/** Starts the built command line in a process of its own. */
export function start(args: readonly string[], options: CliOptions = {}): Started {
  if (!existsSync(main)) throw new Error('dist/cli/main.js is missing: run `npm run build` (`npm test` does)');
  const imports = (options.imports ?? []).flatMap((path) => ['--import', path]);
  const child = spawn(process.execPath, [...imports, main, ...args], {
    cwd: options.cwd,
    env: { ...process.env, NO_COLOR: '1', FEDLORA_DEBUG: '', ...options.env },
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  child.stdin.end(options.input ?? '');
  const ended = new Promise<Ended>((done, failed) => {
    let stdout = '';
    let stderr = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
    const clock = setTimeout(() => child.kill('SIGKILL'), options.limit ?? 100_000);
    child.once('error', failed);
    child.once('close', (code, signal) => {
      clearTimeout(clock);
      done({ code, signal, stdout, stderr });
    });
  });
  return { child, ended };
}

/** Runs the command line to its end. */
export const fedlora = (args: readonly string[], options?: CliOptions): Promise<Ended> => start(args, options).ended;
