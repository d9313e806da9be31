/**
 * `npm run study:robust [-- ROUNDS]`: FedIT on the embedded model with clients that attack, under every robust rule. Writes
 * docs/results/robust.csv and the tables in docs/robust.md; goes on where it was stopped. The folder .cache/study-robust holds
 * its runs: remove it where model or code have changed.
 */
import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { writeAtomically } from '../src/formats/files/atomic.ts';
import { armsOf, outcomeOf, rowsOf, type Outcome } from './robust/arms.ts';
import { csv, tables } from './robust/table.ts';

const seeds = [1];
const rounds = Number(process.argv[2] ?? 8);
if (!(Number.isSafeInteger(rounds) && rounds > 0))
  throw new Error(`rounds: expected a whole number, got ${process.argv[2]}`);
const budget = { rounds, steps: 4, batchSize: 16 };
const folder = resolve('.cache/study-robust', `${rounds} rounds`);
const [begin, end] = ['<!-- tables: npm run study:robust -->', '<!-- end of tables -->'];

const started = performance.now();
const outcomes: Outcome[] = [];
for (const seed of seeds) {
  const rows = resolve(folder, `rows-${seed}.jsonl`);
  await writeAtomically(rows, rowsOf(seed, 160));
  for (const arm of armsOf(seed)) {
    const outcome = await outcomeOf(arm, budget, rows, folder);
    outcomes.push(outcome);
    const { rule, attack, bad, loss } = outcome;
    const seconds = Math.round((performance.now() - started) / 1000);
    console.error(`${rule}, ${bad} bad (${attack}): ${loss?.toFixed(3) ?? 'a round failed'}, ${seconds} s`);
  }
}
const page = resolve('docs/robust.md');
const text = await readFile(page, 'utf8');
const [from, to] = [text.indexOf(begin), text.indexOf(end)];
if (from < 0 || to < from) throw new Error(`${page} has no place for the tables`);
const base = outcomes.find((one) => one.clients === 10)?.base?.toFixed(3) ?? 'unknown';
const about = `${rounds} rounds of ${budget.steps} steps with ${budget.batchSize} rows, seed ${seeds.join(', ')}; the base model's loss is ${base}.`;
const shown = `${about}\n\n${tables(outcomes)}`;
await writeAtomically(resolve('docs/results/robust.csv'), csv(outcomes));
await writeAtomically(page, `${text.slice(0, from + begin.length)}\n${shown}\n${text.slice(to)}`);
console.log(shown);
