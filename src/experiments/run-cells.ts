import { RunFailed } from '../errors.ts';
import type { Summary } from '../report/summary.ts';
import type { Cell } from './cells.ts';
import { comesAfter, type Shareable } from './order.ts';

/** How far a run is. */
export interface CellProgress {
  /** Share of its clients' tasks, 0 … 1. */
  readonly share: number;
  /** Stages done, which others may begin with. */
  readonly stages: number;
  /** Latest loss of a training step. */
  readonly loss?: number;
}

/** Whoever does runs, one at a time. */
export interface Runner {
  run(cell: Cell, tell: (progress: CellProgress) => void, signal: AbortSignal): Promise<Summary>;
  close(): void;
}

/** A run that is to be done, and the stages that others may share with it. */
export interface Planned {
  readonly cell: Cell;
  readonly stages: Shareable;
}

export interface Failed {
  readonly cell: Cell;
  readonly reason: string;
}

/** A line for each of these, every one after a line break. */
export const failureLines = (failed: readonly Failed[]): string =>
  failed
    .map(({ cell: { arm, seed, tried }, reason }) => {
      const values = tried?.map(({ key, value }) => `${key} ${JSON.stringify(value)}`).join(', ');
      return `\n  ${arm}, ${values === undefined ? '' : `${values}, `}seed ${seed}: ${reason}`;
    })
    .join('');

/** What is told of runs as they go on. */
export type CellEvent =
  | { readonly kind: 'cell started'; readonly cell: Cell }
  | { readonly kind: 'cell progress'; readonly cell: Cell; readonly progress: CellProgress }
  | { readonly kind: 'cell done'; readonly cell: Cell; readonly summary: Summary }
  | { readonly kind: 'cell failed'; readonly cell: Cell; readonly reason: string };

/**
 * Does runs with as many runners as there are, in their order; one waits while another computes what it can begin with. A run
 * whose rounds fail or whose model diverges is left and the others go on; any other error stops them all.
 */
export async function runCells(
  planned: readonly Planned[],
  runners: readonly Runner[],
  tell: (event: CellEvent) => void,
  finished: (cell: Cell, summary: Summary) => Promise<void>,
  signal: AbortSignal,
): Promise<readonly Failed[]> {
  const stop = new AbortController();
  const either = AbortSignal.any([signal, stop.signal]);
  const waiting = [...planned];
  const free = [...runners];
  const busy = new Map<Planned, CellProgress>();
  const failed: Failed[] = [];
  const change = latch();

  const progressOf =
    (one: Planned) =>
    (now: CellProgress): void => {
      if (now.stages !== busy.get(one)?.stages) change.now();
      busy.set(one, now);
      // It may come from the handler of a message, where nobody would catch a listener's error.
      try {
        tell({ kind: 'cell progress', cell: one.cell, progress: now });
      } catch (error) {
        stop.abort(error);
      }
    };

  const attempt = async (one: Planned, runner: Runner): Promise<void> => {
    const { cell } = one;
    tell({ kind: 'cell started', cell });
    try {
      const summary = await runner.run(cell, progressOf(one), either);
      await finished(cell, summary);
      tell({ kind: 'cell done', cell, summary });
    } catch (error) {
      if (!(error instanceof RunFailed)) throw error;
      failed.push({ cell, reason: error.message });
      tell({ kind: 'cell failed', cell, reason: error.message });
    }
  };

  const begin = async (one: Planned, runner: Runner): Promise<void> => {
    busy.set(one, { share: 0, stages: 0 });
    try {
      await attempt(one, runner);
    } catch (error) {
      stop.abort(error);
    } finally {
      busy.delete(one);
      free.push(runner);
      change.now();
    }
  };

  for (;;) {
    while (free.length > 0 && !stop.signal.aborted) {
      const next = waiting.findIndex((one) => !mustWait(one, waiting, busy));
      if (next < 0) break;
      const [one] = waiting.splice(next, 1);
      void begin(one!, free.pop()!);
    }
    if (busy.size === 0) break;
    await change.wait();
  }
  // The first reason; others are its consequence.
  stop.signal.throwIfAborted();
  return failed;
}

/** Whether another run is about to leave what this one can begin with. */
function mustWait({ stages }: Planned, waiting: readonly Planned[], busy: ReadonlyMap<Planned, CellProgress>): boolean {
  if (waiting.some((other) => comesAfter(stages, other.stages))) return true;
  return [...busy].some(([other, { stages: passed }]) =>
    stages.some(({ family, rounds }, i) => {
      const theirs = other.stages[i];
      return theirs?.family === family && theirs.rounds <= rounds && passed <= i;
    }),
  );
}

/** Lets one wait for what another reports; a report that nobody waited for is not lost. */
function latch(): { now(): void; wait(): Promise<void> } {
  let open = (): void => undefined;
  let next = new Promise<void>((resolve) => (open = resolve));
  return {
    now: () => open(),
    async wait() {
      await next;
      next = new Promise<void>((resolve) => (open = resolve));
    },
  };
}
