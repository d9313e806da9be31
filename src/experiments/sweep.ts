import { mkdir, readdir } from 'node:fs/promises';
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import type { Choice, UnfoldedArm } from '../config/arms.ts';
import type { Sweep } from '../config/sweep.ts';
import type { SweepInput } from '../config/sweep-schema.ts';
import { UserError } from '../errors.ts';
import { openDatabase } from '../federation/database.ts';
import { RoundFailed } from '../federation/fatal.ts';
import { writeAtomically } from '../formats/files/atomic.ts';
import type { Method } from '../methods/method.ts';
import type { Summary } from '../report/summary.ts';
import type { Progress } from '../run/events.ts';
import { knownMethods } from '../run/methods.ts';
import { runEvents } from '../run/run.ts';
import { locate, openModel, type OpenModel } from '../run/subject.ts';
import { cellOf, isDone, sweepFolder, type Cell, type SweepFolder } from './cells.ts';
import { sweepArm, sweepCell } from './collect.ts';
import { ordered, shareable } from './order.ts';
import { readSweep } from './read-sweep.ts';
import { resultsCsv } from './results-csv.ts';
import type { SweepCell, SweepResults } from './results.ts';

export interface SweepOptions {
  /** The output folder: new, empty, or of an earlier state of this sweep, of which everything that still counts is kept. */
  readonly out: string;
  /** Stops after the current step; the same call goes on. */
  readonly signal?: AbortSignal;
  /** Own methods that arms may use. */
  readonly methods?: readonly Method[];
  readonly onEvent?: (event: SweepEvent) => void;
}

/** What a sweep tells while it goes on. */
export type SweepEvent =
  | {
      readonly kind: 'planned';
      readonly arms: readonly string[];
      readonly seeds: readonly number[];
      readonly cells: readonly Cell[];
    }
  | { readonly kind: 'cell started'; readonly cell: Cell; readonly known: boolean }
  | { readonly kind: 'cell'; readonly cell: Cell; readonly event: Progress }
  | { readonly kind: 'cell done'; readonly cell: Cell; readonly summary: Summary }
  | { readonly kind: 'cell failed'; readonly cell: Cell; readonly reason: string };

/**
 * Runs every arm of a sweep under every seed, computing what they share once, and gives the results, which are also in the
 * output folder. Goes on where an earlier process was stopped or killed; in an edited sweep only what is missing is computed.
 * Throws UserError for mistakes in what was given, `Interrupted` once `signal` is aborted, and after everything else is done
 * an Error that names the runs that failed.
 */
export async function sweep(given: string | SweepInput, options: SweepOptions): Promise<SweepResults> {
  const checked = await readSweep(given, knownMethods(options.methods));
  const folder = sweepFolder(resolve(options.out));
  await requireOwn(folder);
  await mkdir(folder.path, { recursive: true });
  const lock = openDatabase(folder.lock);
  try {
    return await wholeSweep(checked, folder, options);
  } finally {
    lock.close();
  }
}

/** A folder that holds something else is left alone. */
async function requireOwn(folder: SweepFolder): Promise<void> {
  if (existsSync(folder.lock) || !existsSync(folder.path)) return;
  if ((await readdir(folder.path)).length > 0)
    throw new UserError(`${folder.path} is not empty and holds no sweep of fedlora: choose another output folder`);
}

async function wholeSweep(checked: Sweep, folder: SweepFolder, options: SweepOptions): Promise<SweepResults> {
  const tell = options.onEvent ?? (() => undefined);
  const chosen = new Map<string, readonly Choice[]>();
  const known = knownMethods(options.methods);
  const cell = (arm: UnfoldedArm, seed: number): Cell =>
    cellOf(checked, folder, arm, seed, chosen.get(arm.label) ?? [], false);
  const cells = checked.seeds.flatMap((seed) => checked.arms.map((arm) => cell(arm, seed)));
  tell({ kind: 'planned', arms: checked.arms.map(({ label }) => label), seeds: checked.seeds, cells });

  const done: SweepCell[] = [];
  const results = (): SweepResults => ({
    baseline: checked.baseline,
    seeds: checked.seeds,
    arms: checked.arms.map((arm) => sweepArm(arm, cell(arm, checked.seeds[0]!), [])),
    cells: cells.flatMap(({ arm, seed }) => done.filter((one) => one.arm === arm && one.seed === seed)),
  });
  const model = await modelOf(cells[0]!, options.signal);
  const inOrder = checked.seeds.flatMap((seed) =>
    ordered(
      cells.filter((one) => one.seed === seed).map((one) => ({ ...one, stages: shareable(one.config, known, model) })),
    ),
  );
  const failed = await runCells(inOrder, folder, options, async (one, summary) => {
    done.push(sweepCell(one, summary));
    await writeAtomically(folder.results, `${JSON.stringify(results(), undefined, 2)}\n`);
  });
  await writeResults(folder, results());
  if (failed.length > 0) throw failure(failed, cells.length);
  return results();
}

/** What people look at. */
async function writeResults(folder: SweepFolder, results: SweepResults): Promise<void> {
  await writeAtomically(folder.csv, resultsCsv(results));
  // Loaded here: plots take longer to load than everything else.
  const { renderSweepReport } = await import('./sweep-report.ts');
  await writeAtomically(folder.report, renderSweepReport(results));
}

/** The base model, read as far as its headers: all runs have the same. */
async function modelOf({ config: { model } }: Cell, signal?: AbortSignal): Promise<OpenModel> {
  const steps = locate('model', model, signal);
  for (;;) {
    const next = await steps.next();
    if (next.done) return openModel(next.value, model.hub);
  }
}

interface Failed {
  readonly cell: Cell;
  readonly reason: string;
}

/** Does runs one after another; one whose rounds fail is left, and the others go on. */
async function runCells(
  cells: readonly Cell[],
  folder: SweepFolder,
  options: SweepOptions,
  finished: (cell: Cell, summary: Summary) => Promise<void>,
): Promise<Failed[]> {
  const tell = options.onEvent ?? (() => undefined);
  const failed: Failed[] = [];
  for (const cell of cells) {
    tell({ kind: 'cell started', cell, known: isDone(cell) });
    try {
      const summary = await runCell(cell, folder, options, (event) => tell({ kind: 'cell', cell, event }));
      await finished(cell, summary);
      tell({ kind: 'cell done', cell, summary });
    } catch (error) {
      if (!(error instanceof RoundFailed)) throw error;
      failed.push({ cell, reason: error.message });
      tell({ kind: 'cell failed', cell, reason: error.message });
    }
  }
  return failed;
}

async function runCell(
  { config, out, tried }: Cell,
  folder: SweepFolder,
  { signal, methods }: SweepOptions,
  tell: (event: Progress) => void,
): Promise<Summary> {
  const events = runEvents(config, {
    out,
    resume: true,
    report: false,
    shelf: folder.shelf,
    scoreOn: tried === undefined ? 'test' : 'validation',
    ...(signal && { signal }),
    ...(methods && { methods }),
  });
  for (;;) {
    const next = await events.next();
    if (next.done) return next.value;
    tell(next.value);
  }
}

function failure(failed: readonly Failed[], all: number): Error {
  const lines = failed.map(({ cell, reason }) => `\n  ${cell.arm}, seed ${cell.seed}: ${reason}`);
  return new Error(
    `${failed.length} of ${all} runs failed; the others are done. The same command tries them again.${lines.join('')}`,
  );
}
