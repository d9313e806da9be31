import { CommanderError } from 'commander';
import { Interrupted, UserError } from '../errors.ts';
import { printable, type Paint } from './style.ts';

/** DESIGN.md: 0 done, 1 failed, 2 the user's mistake, 130 interrupted (resumable). */
export const exitCode = { done: 0, failed: 1, mistake: 2, interrupted: 130 } as const;

/** What an error means for the exit code, and the lines that tell of it; the stack only where asked for. */
export function explain(
  error: unknown,
  options: { readonly verbose: boolean; readonly paint: Paint },
): { readonly code: number; readonly text: string } {
  const { verbose, paint } = options;
  if (error instanceof CommanderError)
    return { code: error.exitCode === 0 ? exitCode.done : exitCode.mistake, text: '' };
  // It may quote data, files and servers.
  const message = printable(error instanceof Error ? error.message : String(error));
  const stack = verbose && error instanceof Error ? `\n${stacks(error)}` : '';
  if (error instanceof Interrupted)
    return { code: exitCode.interrupted, text: `${paint('yellow', 'stopped:')} ${message}${stack}` };
  const text = `${paint('red', 'error:')} ${message}${stack}`;
  if (error instanceof UserError) return { code: exitCode.mistake, text };
  const hint = verbose ? '' : `\n${paint('dim', 'Where it happened: the same command with --verbose.')}`;
  return { code: exitCode.failed, text: `${text}${hint}` };
}

const stacks = (error: Error): string =>
  error.cause instanceof Error ? `${error.stack}\ncaused by ${stacks(error.cause)}` : (error.stack ?? error.message);

/**
 * Turns Ctrl-C (and a request to end) into an abort: the first asks the work to stop after its current step, the second ends
 * the process at once. Call `release` when the work is over.
 */
export function onInterrupt(say: (text: string) => void): { readonly signal: AbortSignal; release(): void } {
  const control = new AbortController();
  const stop = (): void => {
    if (control.signal.aborted) process.exit(exitCode.interrupted);
    say('stopping after the current step; Ctrl-C again stops at once');
    control.abort(new Interrupted('stopped on request'));
  };
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
  for (const name of signals) process.on(name, stop);
  return {
    signal: control.signal,
    release: () => {
      for (const name of signals) process.off(name, stop);
    },
  };
}
