import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import type { UnfoldedArm } from '../config/arms.ts';
import type { Sweep } from '../config/sweep.ts';
import type { SweepInput } from '../config/sweep-schema.ts';
import { Interrupted, UserError } from '../errors.ts';
import { openDatabase } from '../federation/database.ts';
import { tidyShelf } from '../federation/shelved.ts';
import { writeAtomically } from '../formats/files/atomic.ts';
import { entriesIn, makeOut } from '../formats/files/out-folder.ts';
import type { Method } from '../methods/method.ts';
import type { Summary } from '../report/summary.ts';
import { knownMethods } from '../run/methods.ts';
import { openedModel } from './base-model.ts';
import { cellOf, isDone, sweepFolder, type Cell, type SweepFolder } from './cells.ts';
import { sweepArm, sweepCell } from './collect.ts';
import { ordered, shareable } from './order.ts';
import { requirePossible } from './possible.ts';
import { readSweep } from './read-sweep.ts';
import { resultsCsv, stagesCsv } from './results-csv.ts';
import { sweepMarkdown } from './sweep-markdown.ts';
import type { SweepCell, SweepResults, Tried } from './results.ts';
import { failureLines, runCells, type CellEvent, type Failed, type Planned, type Runner } from './run-cells.ts';
import { runnerHere } from './runner.ts';
import { sameInputs } from './same-inputs.ts';
import { tuneArms, type Tuned } from './tuning.ts';
import { runnerApart } from './workers.ts';

export interface SweepOptions {
  /** The output folder: new, empty, or of an earlier state of this sweep, of which everything that still counts is kept. */
  readonly out: string;
  /** Runs at a time, each in a process of its own where there are several; the results' bits do not depend on it. Default: 1. */
  readonly jobs?: number;
  /** Stops after the current step; the same call goes on. */
  readonly signal?: AbortSignal;
  /** Own methods that arms may use, in one process. */
  readonly methods?: readonly Method[];
  readonly onEvent?: (event: SweepEvent) => void;
}

/** What a sweep tells while it goes on: first of tuning, if there is any, then of the runs that are its results. */
export type SweepEvent =
  | {
      readonly kind: 'planned';
      readonly tuning: boolean;
      readonly arms: readonly string[];
      readonly seeds: readonly number[];
      readonly cells: readonly Cell[];
      /** Those that an earlier process had finished. */
      readonly known: readonly Cell[];
    }
  | CellEvent
  | {
      readonly kind: 'tuned';
      readonly arm: string;
      readonly tried: readonly Tried[];
      readonly chosen: Tried['options'];
    };

/**
 * Runs every arm of a sweep under every seed, computing what they share once, and gives the results, which are also in the
 * output folder. Goes on where an earlier process was stopped or killed; in an edited sweep only what is missing is computed.
 * Throws UserError for mistakes in what was given, `Interrupted` once `signal` is aborted, and after everything else is done
 * an Error that names the runs that failed.
 * @example const results = await sweep('sweep.yaml', { out: 'runs/sweep' });
 */
export async function sweep(given: string | SweepInput, options: SweepOptions): Promise<SweepResults> {
  const { jobs = 1, signal = new AbortController().signal, methods } = options;
  if (jobs > 1 && methods !== undefined)
    throw new UserError('own methods run in one process: leave `jobs` out, or write what they do as a shipped method');
  const checked = await readSweep(given, knownMethods(methods));
  const folder = sweepFolder(resolve(options.out));
  await requireOwn(folder);
  await makeOut(folder.path);
  const lock = openDatabase(folder.lock);
  const runners =
    jobs > 1 ? Array.from({ length: jobs }, () => runnerApart(folder.shelf)) : [runnerHere(folder.shelf, methods)];
  try {
    tidyShelf(folder.shelf);
    return await wholeSweep({ checked, folder, runners, signal, methods, tell: options.onEvent ?? (() => undefined) });
  } catch (error) {
    if (signal.aborted && !(error instanceof Interrupted))
      throw new Interrupted('stopped on request', { cause: error });
    throw error;
  } finally {
    for (const runner of runners) runner.close();
    lock.close();
  }
}

/** A folder that holds something else is left alone. */
async function requireOwn(folder: SweepFolder): Promise<void> {
  if (existsSync(folder.lock) || !existsSync(folder.path)) return;
  if ((await entriesIn(folder.path)).length > 0)
    throw new UserError(`${folder.path} is not empty and holds no sweep of fedlora: choose another output folder`);
}

interface Sweeping {
  readonly checked: Sweep;
  readonly folder: SweepFolder;
  readonly runners: readonly Runner[];
  readonly signal: AbortSignal;
  readonly methods: readonly Method[] | undefined;
  readonly tell: (event: SweepEvent) => void;
}

async function wholeSweep(sweeping: Sweeping): Promise<SweepResults> {
  const { checked, folder, tell } = sweeping;
  const { arms, seeds, baseline } = checked;
  const labels = arms.map(({ label }) => label);
  const doAll = await planner(sweeping);
  const requireSame = sameInputs();

  const tuned = await tuneArms(
    checked,
    (arm, seed, chosen) => cellOf(checked, folder, arm, seed, chosen, true),
    async (cells) => {
      tell({
        kind: 'planned',
        tuning: true,
        arms: labels,
        seeds: checked.tuning!.seeds,
        cells,
        known: cells.filter(isDone),
      });
      const summaries = new Map<Cell, Summary>();
      const failed = await doAll(cells, async (cell, summary) => {
        await requireSame(cell);
        summaries.set(cell, summary);
      });
      return { summaries, failed };
    },
  );
  for (const { label, tune } of arms) if (tune.length > 0) tell(choiceOf(label, tuned.get(label)!));

  const cell = (arm: UnfoldedArm, seed: number): Cell =>
    cellOf(checked, folder, arm, seed, tuned.get(arm.label)!.chosen, false);
  const cells = seeds.flatMap((seed) => arms.map((arm) => cell(arm, seed)));
  tell({ kind: 'planned', tuning: false, arms: labels, seeds, cells, known: cells.filter(isDone) });
  const done = new Map<Cell, SweepCell>();
  const results = (): SweepResults => ({
    baseline,
    seeds,
    arms: arms.map((arm) => sweepArm(checked, arm, seeds[0]!, tuned.get(arm.label)!)),
    cells: cells.flatMap((one) => done.get(one) ?? []),
  });
  const failed = await doAll(cells, async (one, summary) => {
    await requireSame(one);
    done.set(one, sweepCell(one, summary));
    await writeAtomically(folder.results, `${JSON.stringify(results(), undefined, 2)}\n`);
  });
  await writeResults(folder, results());
  if (failed.length > 0) throw failure(failed, cells.length);
  return results();
}

type DoAll = (
  cells: readonly Cell[],
  finished: (cell: Cell, summary: Summary) => Promise<void>,
) => Promise<readonly Failed[]>;

/** How runs are done: seed by seed, those that others can begin with first. */
async function planner({ checked, runners, signal, methods, tell }: Sweeping): Promise<DoAll> {
  const known = knownMethods(methods);
  const model = await openedModel(checked.config(checked.arms[0]!, checked.seeds[0]!).model, signal);
  requirePossible(checked, known, model);
  return async (cells, finished) => {
    const planned = cells.map((cell): Planned => ({ cell, stages: shareable(cell.config, known, model) }));
    const seeds = [...new Set(cells.map(({ seed }) => seed))];
    const inOrder = seeds.flatMap((seed) => ordered(planned.filter(({ cell }) => cell.seed === seed)));
    return runCells(inOrder, runners, tell, finished, signal);
  };
}

const choiceOf = (arm: string, { tried, chosen }: Tuned): SweepEvent => ({
  kind: 'tuned',
  arm,
  tried,
  chosen: Object.fromEntries(chosen.map(({ key, value }) => [key, value])),
});

/** What people look at. */
async function writeResults(folder: SweepFolder, results: SweepResults): Promise<void> {
  await writeAtomically(folder.csv, resultsCsv(results));
  await writeAtomically(folder.stages, stagesCsv(results));
  await writeAtomically(folder.markdown, sweepMarkdown(results));
  // Loaded here: plots take longer to load than everything else.
  const { renderSweepReport } = await import('./sweep-report.ts');
  await writeAtomically(folder.report, renderSweepReport(results));
}

const failure = (failed: readonly Failed[], all: number): Error =>
  new Error(
    `${failed.length} of ${all} runs failed; the others are done. The same command tries them again.${failureLines(failed)}`,
  );
