import { join } from 'node:path';
import type { ModelKind } from '../../src/experiments/compare-arms.ts';
import type { Summary } from '../../src/report/summary.ts';
import { analyse, meanOf } from './compare.ts';
import { runSeed, type Arm } from './runs.ts';

/** One rate of one method, with the rates tried: as many for every setting. */
interface Grid {
  readonly name: string;
  /** The models whose loss decides. */
  readonly kind: ModelKind;
  readonly rates: readonly number[];
  readonly arm: (rate: number) => Arm;
}

export interface Tried {
  readonly setting: string;
  readonly rate: number;
  readonly loss: number;
  readonly chosen: boolean;
}

/** Tries all rates of some grids in one run per seed, and gives the loss of each: the mean over seeds and clients. */
async function tryAll(
  folder: string,
  seeds: readonly number[],
  grids: readonly Grid[],
  rate: number,
): Promise<Tried[]> {
  const label = (grid: Grid, tried: number): string => `${grid.name} ${tried}`;
  const methods = grids.flatMap((grid) =>
    grid.rates.map((tried) => ({ ...grid.arm(tried), label: label(grid, tried) })),
  );
  const runs: Summary[] = [];
  for (const seed of seeds) runs.push(await runSeed(folder, seed, { methods, rate }));
  const analysis = analyse(runs);
  return grids.flatMap((grid) => {
    const losses = grid.rates.map((tried) => meanOf(analysis, label(grid, tried), grid.kind, 'loss')!);
    const least = Math.min(...losses);
    return grid.rates.map((tried, i) => ({
      setting: grid.name,
      rate: tried,
      loss: losses[i]!,
      chosen: losses[i] === least,
    }));
  });
}

const chosenRate = (tried: readonly Tried[], setting: string): number =>
  tried.find((one) => one.setting === setting && one.chosen)!.rate;

/** For A and B themselves. */
const factorRates = [1e-3, 3e-3, 1e-2, 3e-2];

type Axis = 'column' | 'row';
const axes = ['column', 'row'] as const;
const globalName = (axis: Axis): string => `FedLoRA-Optimizer global ${axis}`;
const localName = (axis: Axis): string => `FedLoRA-Optimizer local ${axis}`;

/**
 * Every rate of the quickstart's methods, chosen by the same number of tries (four each) on task sets that only tuning sees:
 * those that the tuning seeds draw. The federated rate first, since FedIT and stage 0 are the same there; then all others;
 * then stage 2 after the best stage 1.
 */
export async function tune(folder: string, seeds: readonly number[]): Promise<Tried[]> {
  const federated: Tried[] = [];
  for (const rate of factorRates) {
    const one = { name: 'FedIT federated', kind: 'global', rates: [rate], arm: (): Arm => ({ use: 'fedit' }) } as const;
    federated.push(...(await tryAll(join(folder, `federated-${rate}`), seeds, [one], rate)));
  }
  const least = Math.min(...federated.map(({ loss }) => loss));
  const first = federated.map((one) => ({ ...one, chosen: one.loss === least }));
  const rate = chosenRate(first, 'FedIT federated');

  const globals = { column: [1e-2, 3e-2, 1e-1, 3e-1], row: [3e-3, 1e-2, 3e-2, 1e-1] };
  const locals = { column: [1e-2, 3e-2, 1e-1, 3e-1], row: [1e-3, 3e-3, 1e-2, 3e-2] };
  const stage1 = (axis: Axis, tried: number): Arm => ({
    use: 'fedlora-optimizer',
    axis,
    rounds: 7,
    global: { rounds: 16, rows: 8, rate: tried },
  });
  const second = await tryAll(
    join(folder, 'second'),
    seeds,
    [
      {
        name: 'FedIT local',
        kind: 'personal',
        rates: factorRates,
        arm: (tried) => ({ use: 'fedit', rounds: 8, local: { steps: 32, rate: tried } }),
      },
      {
        name: 'local only',
        kind: 'personal',
        rates: factorRates,
        arm: (tried) => ({ use: 'local-only', rate: tried }),
      },
      ...axes.map((axis): Grid => ({
        name: globalName(axis),
        kind: 'global',
        rates: globals[axis],
        arm: (tried) => ({ ...stage1(axis, tried), local: { skip: true } }),
      })),
    ],
    rate,
  );
  const third = await tryAll(
    join(folder, 'third'),
    seeds,
    axes.map((axis): Grid => ({
      name: localName(axis),
      kind: 'personal',
      rates: locals[axis],
      arm: (tried) => ({ ...stage1(axis, chosenRate(second, globalName(axis))), local: { steps: 32, rate: tried } }),
    })),
    rate,
  );
  return [...first, ...second, ...third];
}
