/**
 * `npm run study:robust`: FedIT on the embedded model with clients that attack, under every robust rule. Writes
 * docs/results/robust.csv and the tables in docs/robust.md; goes on where it was stopped. The folder .cache/study-robust holds
 * its runs: remove it where model or code have changed. With another budget (`--rounds --batch --rate --rows --over-rounds
 * cosine`), `--only RULE,…`, `--attacks NAME,…` or `--pair` (no and two bad clients alone) it prints losses and writes no page.
 */
import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { writeAtomically } from '../src/formats/files/atomic.ts';
import { armsOf, outcomeOf, rowsOf, rules, type Arm, type Outcome } from './robust/arms.ts';
import { attackNames } from './robust/attack.ts';
import { csv, tables } from './robust/table.ts';

const usual = {
  rounds: '16',
  batch: '16',
  rate: '1e-2',
  rows: '160',
  'over-rounds': 'constant',
  only: Object.keys(rules).join(','),
  attacks: ['none', ...attackNames].join(','),
};
const options = Object.fromEntries(
  Object.entries(usual).map(([key, value]) => [key, { type: 'string' as const, default: value }]),
);
const { pair, ...given } = parseArgs({ options: { ...options, pair: { type: 'boolean', default: false } } }).values;
const asked = { ...usual, ...given };
const overRounds = asked['over-rounds'];
if (overRounds !== 'constant' && overRounds !== 'cosine') throw new Error('--over-rounds takes constant or cosine');
const number = (key: 'rounds' | 'batch' | 'rate' | 'rows'): number => {
  const value = Number(asked[key]);
  if (!(value > 0)) throw new Error(`--${key} takes a number above 0, not ${asked[key]}`);
  return value;
};
const only = asked.only.split(',');
for (const rule of only) if (!(rule in rules)) throw new Error(`--only: no rule ${rule}; ${usual.only} are there`);

const attacks = asked.attacks.split(',');
for (const attack of attacks)
  if (!usual.attacks.split(',').includes(attack))
    throw new Error(`--attacks: no attack ${attack}; ${usual.attacks} are there`);

const seeds = [1];
const [rounds, rowsEach] = [number('rounds'), number('rows')];
const budget = { rounds, steps: 4, batchSize: number('batch'), rate: number('rate'), overRounds } as const;
const isUsual = !pair && JSON.stringify(asked) === JSON.stringify(usual);
const folder = resolve(
  '.cache/study-robust',
  `${rounds} rounds, ${asked.batch} rows of ${rowsEach}, rate ${asked.rate}, ${overRounds}`,
);
const [begin, end] = ['<!-- tables: npm run study:robust -->', '<!-- end of tables -->'];

const started = performance.now();
const outcomes: Outcome[] = [];
for (const seed of seeds) {
  const rows = resolve(folder, `rows-${seed}.jsonl`);
  await writeAtomically(rows, rowsOf(seed, rowsEach));
  const asks = ({ rule, attack, bad }: Arm): boolean =>
    only.includes(rule) && attacks.includes(attack) && (!pair || bad === 0 || bad === 2);
  for (const arm of armsOf(seed).filter(asks)) {
    const outcome = await outcomeOf(arm, budget, rows, folder);
    outcomes.push(outcome);
    const { rule, attack, bad, loss } = outcome;
    const seconds = Math.round((performance.now() - started) / 1000);
    console.error(`${rule}, ${bad} bad (${attack}): ${loss?.toFixed(3) ?? 'a round failed'}, ${seconds} s`);
  }
}
if (!isUsual) process.exit();
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
