import { appendFileSync, existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { faultKinds, planOf, seedOf, type FaultKind } from './plan.ts';
import { runScenario, type Result } from './scenario.ts';
import type { SettingName } from './settings.ts';
import type { Ground } from './workspace.ts';

const resultsIn = (root: string): string => join(root, 'results.jsonl');

/** Results of a series so far; the last one of each scenario counts. */
export function resultsOf(root: string): Result[] {
  const path = resultsIn(root);
  if (!existsSync(path)) return [];
  const all = readFileSync(path, 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Result);
  return [...new Map(all.map((result) => [result.seed, result])).values()].sort((a, b) => a.seed - b.seed);
}

interface Chosen {
  /** From 0. */
  readonly from: number;
  readonly count: number;
  /** Kinds of run that are taken, of the first one of a scenario; the others are passed over. */
  readonly kinds: readonly SettingName[];
  /** Kinds of fault that come first in a scenario that is taken. Default: all. */
  readonly faults?: readonly FaultKind[];
}

/** Which scenarios `from` up to `count` of a series are of these kinds. */
export const seedsOf = (series: number, { from, count, kinds, faults = faultKinds }: Chosen): number[] =>
  Array.from({ length: Math.max(0, count - from) }, (_, k) => seedOf(series, from + k)).filter((seed) => {
    const plan = planOf(seed);
    return kinds.includes(plan.runs[0]!.setting) && faults.includes(plan.faults[0]!.kind);
  });

/** Runs these scenarios, so many at a time, yielding each as it ends; results are kept in the series' folder. */
export async function* runSeries(
  series: number,
  { jobs, ...chosen }: Chosen & { readonly jobs: number },
  ground: Ground,
): AsyncGenerator<Result, void> {
  mkdirSync(ground.root, { recursive: true });
  const running = new Map<number, Promise<Result>>();
  const seeds = seedsOf(series, chosen);
  for (let k = 0; k < seeds.length || running.size > 0;) {
    while (k < seeds.length && running.size < jobs) {
      const seed = seeds[k++]!;
      running.set(seed, runScenario(planOf(seed), ground));
    }
    const result = await Promise.race(running.values());
    running.delete(result.seed);
    appendFileSync(resultsIn(ground.root), `${JSON.stringify(result)}\n`);
    yield result;
  }
}
