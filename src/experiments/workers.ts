import { fork, type ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { Interrupted, RunFailed, UserError } from '../errors.ts';
import type { Summary } from '../report/summary.ts';
import type { Cell } from './cells.ts';
import type { CellProgress, Runner } from './run-cells.ts';

export type ToWorker =
  | { readonly kind: 'run'; readonly cell: Cell; readonly shelf: string }
  | { readonly kind: 'stop' };

export type FromWorker =
  | { readonly kind: 'progress'; readonly progress: CellProgress }
  | { readonly kind: 'done'; readonly summary: Summary }
  | {
      readonly kind: 'failed';
      readonly error: {
        readonly kind: Kind | 'other';
        readonly message: string;
        readonly stack: string;
      };
    };

/** Errors that keep their kind on the way from one process to another; others are plain. */
const kinds = { failed: RunFailed, interrupted: Interrupted, user: UserError } as const;
type Kind = keyof typeof kinds;

export const kindOf = (error: unknown): Kind | 'other' =>
  (Object.keys(kinds) as Kind[]).find((kind) => error instanceof kinds[kind]) ?? 'other';

/** Does runs in a process of its own, which ends with this one. */
export function runnerApart(shelf: string): Runner {
  let child: ChildProcess | undefined;
  const worker = fileURLToPath(new URL('./worker.js', import.meta.url));
  const process = (): ChildProcess => {
    if (child !== undefined) return child;
    const started = fork(worker, { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
    started.once('exit', () => (child = undefined));
    return (child = started);
  };
  return {
    run: (cell, tell, signal) =>
      new Promise<Summary>((resolve, reject) => {
        if (signal.aborted) return reject(new Interrupted('stopped on request; the run can be resumed'));
        const worker = process();
        const stop = (): void => void worker.send({ kind: 'stop' } satisfies ToWorker);
        const over = (): void => {
          signal.removeEventListener('abort', stop);
          worker.off('message', heard).off('exit', ended).off('error', lost);
        };
        const heard = (message: FromWorker): void => {
          if (message.kind === 'progress') return tell(message.progress);
          over();
          if (message.kind === 'done') resolve(message.summary);
          else reject(errorOf(message.error));
        };
        const ended = (code: number | null, by: string | null): void => {
          over();
          reject(
            new Error(
              `the process that ran ${cell.arm}, seed ${cell.seed}, ended by itself (${by ?? `exit code ${code}`})`,
            ),
          );
        };
        const lost = (error: Error): void => {
          over();
          reject(error);
        };
        worker.on('message', heard).once('exit', ended).once('error', lost);
        signal.addEventListener('abort', stop, { once: true });
        worker.send({ kind: 'run', cell, shelf } satisfies ToWorker);
      }),
    close() {
      // One that has just died has nothing to be cut off from, and saying so would be an error nobody hears.
      if (child?.connected) child.disconnect();
    },
  };
}

function errorOf({ kind, message, stack }: Extract<FromWorker, { kind: 'failed' }>['error']): Error {
  return kind === 'other' ? Object.assign(new Error(message), { stack }) : new kinds[kind](message);
}
