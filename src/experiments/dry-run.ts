import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import type { UnfoldedArm } from '../config/arms.ts';
import type { Sweep } from '../config/sweep.ts';
import { triesOf } from '../config/sweep.ts';
import type { SweepInput } from '../config/sweep-schema.ts';
import { evaluationBatches } from '../data/batches.ts';
import type { LoadedData } from '../data/load.ts';
import { initAdapter } from '../lora/init.ts';
import type { Method } from '../methods/method.ts';
import type { Summary } from '../report/summary.ts';
import { runFolder } from '../run/folder.ts';
import { knownMethods, layOut } from '../run/methods.ts';
import { longest } from '../run/shelf.ts';
import { engineOf, layoutOf, located, openData, type OpenModel } from '../run/subject.ts';
import { openedModel } from './base-model.ts';
import { cellOf, isDone, sweepFolder, type Cell, type SweepFolder } from './cells.ts';
import { ordered, shareable, type Shareable } from './order.ts';
import { readSweep } from './read-sweep.ts';
import { rehearse, type StageWork } from './rehearse.ts';

/** What a sweep will do, before it does it. */
export interface SweepPlan {
  readonly arms: readonly ArmPlan[];
  /** Runs of the results, and tries of tuning, with how many of them are done. */
  readonly runs: { readonly all: number; readonly done: number };
  readonly tries: { readonly all: number; readonly done: number };
  /** Of everything left, in one process. */
  readonly seconds: number;
  /** Where the times come from. */
  readonly basis: string;
}

export interface ArmPlan {
  readonly label: string;
  /** Values to be tried. */
  readonly tries: number;
  /** Of one run, computed alone. */
  readonly steps: number;
  readonly labelledTokens: number;
  /** Share of a run's tokens that other runs of the seed have computed before it. */
  readonly shared: number;
  /** Of all its runs and tries that are left. */
  readonly seconds: number;
}

interface Pace {
  /** Per token through forward and backward. */
  readonly token: number;
  /** Of a run's evaluations. */
  readonly evaluating: (data: LoadedData, stages: number) => number;
  readonly basis: string;
}

/**
 * A sweep's plan: what is computed and what is shared, the work of each arm, and the time, by earlier runs in the folder or by
 * a few measured steps. Nothing is written. Work is counted under the first seed, and of tuned values the first.
 */
export async function planSweep(
  given: string | SweepInput,
  options: { readonly out: string; readonly methods?: readonly Method[]; readonly signal?: AbortSignal },
): Promise<SweepPlan> {
  const known = knownMethods(options.methods);
  const signal = options.signal ?? new AbortController().signal;
  const sweep = await readSweep(given, known);
  const folder = sweepFolder(resolve(options.out));
  const model = await openedModel(sweep.config(sweep.arms[0]!, sweep.seeds[0]!).model, signal);
  const data = dataOf(model, signal);
  const cells = cellsOf(sweep, folder);
  const pace = earlier(cells) ?? (await measured(cells[0]!, model, await data(cells[0]!)));

  const work = new Map<string, readonly StageWork[]>();
  for (const arm of sweep.arms) {
    const cell = cells.find((one) => one.arm === arm.label && one.tried === undefined)!;
    const { rounds } = cell.config;
    const layout = layoutOf(model, cell.config.lora);
    const about = { layout, data: await data(cell), seed: cell.seed, hidden: model.config.hiddenSize };
    const fraction = rounds.sampling === 'all' ? 1 : rounds.fraction;
    work.set(arm.label, await rehearse(layOut(cell.config, known, layout)[0]!.stages, { ...about, fraction }));
  }
  const shares = sharedParts(cells, (cell) => shareable(cell.config, known, model), folder, work);
  const secondsOf = async (cell: Cell): Promise<number> => {
    if (isDone(cell)) return 0;
    const stages = work.get(cell.arm)!;
    const own = (1 - shares.get(cell)!) * sum(stages, ({ processedTokens }) => processedTokens);
    return own * pace.token + pace.evaluating(await data(cell), stages.length);
  };
  const arms: ArmPlan[] = [];
  for (const arm of sweep.arms) {
    const own = cells.filter((cell) => cell.arm === arm.label);
    const runs = own.filter(({ tried }) => tried === undefined);
    const stages = work.get(arm.label)!;
    let seconds = 0;
    for (const cell of own) seconds += await secondsOf(cell);
    arms.push({
      label: arm.label,
      tries: triesOf(arm),
      steps: sum(stages, ({ steps }) => steps),
      labelledTokens: sum(stages, ({ labelledTokens }) => labelledTokens),
      shared: sum(runs, (cell) => shares.get(cell)!) / runs.length,
      seconds,
    });
  }
  const count = (of: readonly Cell[]): SweepPlan['runs'] => ({ all: of.length, done: of.filter(isDone).length });
  return {
    arms,
    runs: count(cells.filter(({ tried }) => tried === undefined)),
    tries: count(cells.filter(({ tried }) => tried !== undefined)),
    seconds: sum(arms, ({ seconds }) => seconds),
    basis: pace.basis,
  };
}

/** All runs, with the first of the tuned values where they are not chosen yet. */
function cellsOf(sweep: Sweep, folder: SweepFolder): Cell[] {
  const first = (arm: UnfoldedArm, steps: number) => arm.tune.slice(0, steps).flatMap((step) => step[0]!);
  const tries = sweep.arms.flatMap((arm) =>
    arm.tune.flatMap((step, i) =>
      step.flatMap((choices) =>
        (sweep.tuning?.seeds ?? []).map((seed) =>
          cellOf(sweep, folder, arm, seed, [...first(arm, i), ...choices], true),
        ),
      ),
    ),
  );
  const runs = sweep.seeds.flatMap((seed) =>
    sweep.arms.map((arm) => cellOf(sweep, folder, arm, seed, first(arm, Infinity), false)),
  );
  return [...tries, ...runs];
}

/** Of each run, the share of its tokens that those before it have computed, or that lies on the shelf. */
function sharedParts(
  cells: readonly Cell[],
  stagesOf: (cell: Cell) => Shareable,
  folder: SweepFolder,
  work: ReadonlyMap<string, readonly StageWork[]>,
): ReadonlyMap<Cell, number> {
  const shares = new Map<Cell, number>();
  const groups = new Map<string, { readonly cell: Cell; readonly stages: Shareable }[]>();
  for (const cell of cells) {
    const key = `${cell.seed} ${cell.tried !== undefined}`;
    groups.set(key, [...(groups.get(key) ?? []), { cell, stages: stagesOf(cell) }]);
  }
  for (const group of groups.values()) {
    const computed = new Map<string, number[]>();
    for (const { cell, stages } of ordered(group)) {
      const own = work.get(cell.arm)!;
      const all = sum(own, ({ processedTokens }) => processedTokens);
      let taken = 0;
      for (const [i, { family, rounds }] of stages.entries()) {
        const there = [...(computed.get(family) ?? []), longest(folder.shelf, family, rounds) ?? 0];
        const most = Math.max(0, ...there.filter((count) => count <= rounds));
        taken += (own[i]!.processedTokens * most) / Math.max(1, rounds);
        computed.set(family, [...there, rounds]);
      }
      shares.set(cell, all === 0 ? 0 : taken / all);
    }
  }
  return shares;
}

/** Data of the first seed for each way of dealing them. */
function dataOf(model: OpenModel, signal: AbortSignal): (cell: Cell) => Promise<LoadedData> {
  const known = new Map<string, Promise<LoadedData>>();
  return ({ config }) => {
    const key = JSON.stringify([config.clients, { ...config.data, path: undefined }]);
    if (!known.has(key)) known.set(key, opened(config));
    return known.get(key)!;
  };
  async function opened(config: Cell['config']): Promise<LoadedData> {
    return openData(config, await located('dataset', config.data, signal), model, signal);
  }
}

/** By runs that are done, if there are any. */
function earlier(cells: readonly Cell[]): Pace | undefined {
  const done = cells
    .filter(isDone)
    .map(({ out }) => JSON.parse(readFileSync(runFolder(out).summary, 'utf8')) as Summary);
  const processed = sum(done, ({ methods: [method] }) => sum(method!.stages, ({ processedTokens }) => processedTokens));
  if (processed === 0) return undefined;
  const training = sum(done, ({ methods: [method] }) => method!.seconds);
  const evaluating = (sum(done, ({ seconds }) => seconds) - training) / done.length;
  const basis = done.length === 1 ? 'the one run in the folder' : `${done.length} earlier runs in the folder`;
  return { token: training / processed, evaluating: () => evaluating, basis };
}

/** By a few steps and scores, the first of each not counted. */
async function measured({ config, seed }: Cell, model: OpenModel, data: LoadedData): Promise<Pace> {
  const layout = layoutOf(model, config.lora);
  const engine = await engineOf(model, layout, config.runtime);
  try {
    const { factors } = initAdapter(layout, seed);
    const [batch] = evaluationBatches(data.clients[0]!.train.slice(0, config.train.batchSize), config.train.batchSize);
    const time = async (work: () => Promise<unknown>): Promise<number> => {
      await work();
      const began = performance.now();
      for (let i = 0; i < 3; i++) await work();
      return (performance.now() - began) / 3000 / batch!.ids.length;
    };
    const token = await time(() => engine.step(factors, batch!, 'AB'));
    const scored = await time(() => engine.score(factors, batch!));
    const { generate, matrix, every } = config.evaluate;
    const evaluating = ({ clients }: LoadedData, stages: number): number => {
      const test = sum(clients, ({ test: rows }) => sum(rows, ({ ids }) => ids.length));
      const validation = sum(clients, ({ validation: rows }) => sum(rows, ({ ids }) => ids.length));
      const models = stages + (matrix ? clients.length : 1);
      return scored * (models * test + (every > 0 ? (config.rounds.count / every) * validation : 0));
    };
    const without = generate > 0 ? ', answers that are generated not counted' : '';
    return { token, evaluating, basis: `three measured steps and scores of ${batch!.rows} rows${without}` };
  } finally {
    await engine.close();
  }
}

const sum = <T>(of: readonly T[], value: (one: T) => number): number => of.reduce((all, one) => all + value(one), 0);
