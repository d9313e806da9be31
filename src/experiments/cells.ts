import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Choice, UnfoldedArm } from '../config/arms.ts';
import type { RunConfig } from '../config/schema.ts';
import type { Sweep } from '../config/sweep.ts';
import { threadsOf } from '../run/environment.ts';
import { fileNames } from '../run/file-names.ts';
import { runFolder, runKey } from '../run/folder.ts';

/** Where a sweep's results lie. */
export interface SweepFolder {
  readonly path: string;
  /** Held by whoever is at work here. */
  readonly lock: string;
  /** Stages that runs share. */
  readonly shelf: string;
  readonly results: string;
  readonly csv: string;
  /** What every stage cost. */
  readonly stages: string;
  readonly markdown: string;
  readonly report: string;
}

export const sweepFolder = (path: string): SweepFolder => ({
  path,
  lock: join(path, 'sweep.sqlite'),
  shelf: join(path, 'shelf'),
  results: join(path, 'results.json'),
  csv: join(path, 'results.csv'),
  stages: join(path, 'stages.csv'),
  markdown: join(path, 'results.md'),
  report: join(path, 'report.html'),
});

/** One run of a sweep: an arm under a seed, or a try of its tuning. */
export interface Cell {
  readonly arm: string;
  readonly seed: number;
  /** The values tried; absent where the run is a result. */
  readonly tried?: readonly Choice[];
  readonly config: RunConfig;
  readonly out: string;
}

/** The run of an arm under a seed. Its folder is named by the whole configuration, so that a changed arm is another run. */
export function cellOf(
  sweep: Sweep,
  folder: SweepFolder,
  arm: UnfoldedArm,
  seed: number,
  chosen: readonly Choice[],
  tuning: boolean,
): Cell {
  const config = fixed(sweep.config(arm, seed, chosen), tuning);
  const name = `${fileNames([arm.label]).get(arm.label)!}-${runKey(config).slice(0, 8)}`;
  const out = join(folder.path, tuning ? 'tuning' : 'runs', `seed-${seed}`, name);
  return { arm: arm.label, seed, ...(tuning && { tried: chosen }), config, out };
}

/** With the number of threads said, since the last bit depends on it; in tuning only the loss is looked at, at the end. */
function fixed(config: RunConfig, tuning: boolean): RunConfig {
  const runtime = { ...config.runtime, threads: threadsOf(config.runtime) };
  const evaluate = tuning ? { ...config.evaluate, every: 0, generate: 0, matrix: false } : config.evaluate;
  return { ...config, runtime, evaluate };
}

export const isDone = (cell: Cell): boolean => existsSync(runFolder(cell.out).summary);
