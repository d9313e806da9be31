/**
 * `npm run chaos -- --scenarios N --seed S`: federations of real processes on loopback, each with faults drawn from its seed, and
 * what must hold afterwards checked (docs/faults.md). `--from K` goes on with scenario K (from 0) of the series, `--kinds A,B`
 * takes only those of the series that are of these kinds of run, `--faults "A,B"` those whose first fault is of these kinds, `--scenario SEED` runs a single one, `--jobs N` several at a time, `--limit` seconds for each, `--main PATH` another command line
 * than the one just built. Kinds with a client in Python need FEDLORA_PYTHON, and are skipped without it. Folders and results: .cache/chaos/S.
 */
import { existsSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { duration } from '../src/report/format.ts';
import { faultKinds, planOf, type FaultKind } from './chaos/plan.ts';
import { runScenario, type Result } from './chaos/scenario.ts';
import { resultsOf, runSeries, seedsOf } from './chaos/series.ts';
import { hasPython, settings, type SettingName } from './chaos/settings.ts';
import { markdown, rows, totals } from './chaos/table.ts';

const NO_PYTHON = 'FEDLORA_PYTHON names no Python with what examples/python-client/requirements.txt asks for';

const { values } = parseArgs({
  options: {
    scenarios: { type: 'string', default: '20' },
    seed: { type: 'string', default: '1' },
    from: { type: 'string', default: '0' },
    kinds: { type: 'string', default: Object.keys(settings).join() },
    faults: { type: 'string', default: faultKinds.join() },
    scenario: { type: 'string' },
    jobs: { type: 'string', default: '2' },
    limit: { type: 'string', default: '300' },
    main: { type: 'string', default: '.cache/build/src/cli/main.js' },
  },
});

const main = resolve(values.main);
if (!existsSync(main))
  throw new Error(`there is no ${main}: start it from the repository’s folder, with \`npm run chaos\``);
const number = (name: keyof typeof values): number => {
  const value = Number(values[name]);
  if (!Number.isSafeInteger(value) || value < 0) throw new Error(`--${name} takes a whole number, not ${values[name]}`);
  return value;
};
const asked = values.kinds.split(',') as SettingName[];
for (const kind of asked)
  if (!Object.hasOwn(settings, kind))
    throw new Error(`--kinds takes some of ${Object.keys(settings).join(', ')}, not ${kind}`);
const faults = values.faults.split(',') as FaultKind[];
for (const fault of faults)
  if (!faultKinds.includes(fault)) throw new Error(`--faults takes some of ${faultKinds.join(', ')}, not ${fault}`);
const python = process.env['FEDLORA_PYTHON'];
const kinds = asked.filter((kind) => python !== undefined || !hasPython(kind));
const ground = { main, limit: number('limit'), python };

const line = ({ seed, setting, tls, faults, outcome, reason, seconds }: Result): string =>
  `${seed} ${setting}${tls ? ' over TLS' : ''}, ${faults.join(' + ')}: ${outcome}${reason === '' ? '' : ` (${reason.split('\n')[0]!.slice(0, 160)})`}, ${seconds.toFixed(0)} s`;
const complain = ({ seed, problems }: Result): void => {
  for (const problem of problems) console.log(`  ${problem}`);
  if (problems.length > 0) console.log(`  again: npm run chaos -- --scenario ${seed}`);
};

if (values.scenario !== undefined) {
  const seed = number('scenario');
  if (python === undefined && hasPython(planOf(seed).runs[0]!.setting))
    throw new Error(`a client in it is in Python: ${NO_PYTHON}`);
  const root = resolve('.cache/chaos/single');
  const result = await runScenario(planOf(seed), { ...ground, root });
  console.log(line(result));
  complain(result);
  if (result.problems.length > 0) console.log(`  its folder: ${join(root, String(seed))}`);
  process.exit(result.outcome === 'failed' ? 1 : 0);
}

const series = number('seed');
const root = resolve('.cache/chaos', String(series));
const [from, count, jobs] = [number('from'), number('scenarios'), Math.max(1, number('jobs'))];
const began = performance.now();
const chosen = seedsOf(series, { from, count, kinds, faults }).length;
const skipped = seedsOf(series, { from, count, kinds: asked, faults }).length - chosen;
if (skipped > 0) console.log(`${skipped} scenarios with a client in Python are skipped: ${NO_PYTHON}`);
let done = 0;
for await (const result of runSeries(series, { from, count, jobs, kinds, faults }, { ...ground, root })) {
  done++;
  const left = ((performance.now() - began) / 1000 / done) * (chosen - done);
  console.log(`${done}/${chosen} · ${duration(left)} left · ${line(result)}`);
  complain(result);
}
const results = resultsOf(root).filter(({ seed }) => seed < series * 100_000 + count);
writeFileSync(
  join(root, 'summary.json'),
  `${JSON.stringify({ series, rows: rows(results), totals: totals(results), results }, undefined, 2)}\n`,
);
console.log(`\n${markdown(results)}\n\n${JSON.stringify(totals(results))}\n${join(root, 'summary.json')}`);
process.exit(results.some(({ outcome }) => outcome === 'failed') ? 1 : 0);
