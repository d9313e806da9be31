/**
 * `npm run study:embedded`: the quickstart's settings on seeds that were not used for tuning, each with a task set of its own:
 * means, paired differences and their intervals, and docs/results/embedded.csv. `-- --tune` chooses the rates in
 * examples/quickstart.yaml, on seeds of their own, and writes docs/results/embedded-tuning.csv. Both go on where they were stopped.
 */
import { resolve } from 'node:path';
import { writeAtomically } from '../src/formats/files/atomic.ts';
import type { Summary } from '../src/report/summary.ts';
import { comparisons, csv, markdown } from './study/compare.ts';
import { runSeed } from './study/runs.ts';
import { tune } from './study/tune.ts';

const tuningSeeds = [101, 102, 103];
const seeds = [1, 2, 3, 4, 5, 6];
const folder = resolve('.cache/study');
const started = performance.now();
const seconds = (): string => `${Math.round((performance.now() - started) / 1000)} s`;

if (process.argv.includes('--tune')) {
  const tried = await tune(resolve(folder, 'tune'), tuningSeeds);
  const lines = tried.map(({ setting, rate, loss, chosen }) =>
    [setting, rate, loss.toFixed(5), chosen ? 'chosen' : ''].join(','),
  );
  await writeAtomically(resolve('docs/results/embedded-tuning.csv'), `setting,rate,loss,chosen\n${lines.join('\n')}\n`);
  console.log(lines.join('\n'));
} else {
  const runs: Summary[] = [];
  for (const seed of seeds) {
    runs.push(await runSeed(folder, seed));
    console.error(`seed ${seed} done, ${seconds()}`);
  }
  await writeAtomically(resolve('docs/results/embedded.csv'), csv(runs));
  console.log(markdown(runs, comparisons(runs)));
}
console.error(seconds());
