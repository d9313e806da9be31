import { appendFileSync, existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { planOf, seedOf } from './plan.ts';
import { runScenario, type Result } from './scenario.ts';
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

/** Runs scenarios `from` (from 0) up to `count` of a series, so many at a time, yielding each as it ends; results are kept in its folder. */
export async function* runSeries(
  series: number,
  { from, count, jobs }: { readonly from: number; readonly count: number; readonly jobs: number },
  ground: Ground,
): AsyncGenerator<Result, void> {
  mkdirSync(ground.root, { recursive: true });
  const running = new Map<number, Promise<Result>>();
  for (let k = from; k < count || running.size > 0;) {
    while (k < count && running.size < jobs) {
      const seed = seedOf(series, k++);
      running.set(seed, runScenario(planOf(seed), ground));
    }
    const result = await Promise.race(running.values());
    running.delete(result.seed);
    appendFileSync(resultsIn(ground.root), `${JSON.stringify(result)}\n`);
    yield result;
  }
}
