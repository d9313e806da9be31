/**
 * `npm run bench [-- NAME… [--OPTION VALUE…]]`: runs the benchmarks, every `benchmarks/*.ts` beside this file or those named, one
 * after another, each in a process of its own; options are for those that know them. A benchmark prints one JSON object a line
 * on standard output, a figure each (`figure`, its numbers and whatever explains them), and what it has to say to people on
 * standard error.
 */
import { spawn } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { basename, join } from 'node:path';
import { createInterface } from 'node:readline';
import { smollm2 } from './support/models.ts';

const here = import.meta.dirname;
const self = basename(import.meta.filename);
const names = readdirSync(here)
  .filter((file) => file.endsWith('.js') && file !== self)
  .map((file) => file.slice(0, -3))
  .sort();
const given = process.argv.slice(2);
const first = given.findIndex((argument) => argument.startsWith('--'));
const wanted = first < 0 ? given : given.slice(0, first);
const options = first < 0 ? [] : given.slice(first);
const unknown = wanted.filter((name) => !names.includes(name));
if (unknown.length > 0) {
  console.error(`unknown benchmark ${unknown.join(', ')}; there are ${names.join(', ')}`);
  process.exit(2);
}

/** A figure has a name and at least one number; throws where a line is something else. */
function checkFigure(line: string): void {
  const figure = JSON.parse(line) as Readonly<Record<string, unknown>>;
  if (typeof figure['figure'] !== 'string' || !Object.values(figure).some((value) => Number.isFinite(value)))
    throw new Error(`not a figure: ${line}`);
}

/** What a benchmark is called with, once for each list. */
function variants(name: string): readonly (readonly string[])[] {
  if (name !== 'step') return [options];
  const small = smollm2();
  if (small === undefined) console.error('step: without SmolLM2, since FEDLORA_SHARED is absent');
  return [['42m'], ...(small === undefined ? [] : [[small]])];
}

async function run(name: string, args: readonly string[]): Promise<boolean> {
  console.error(`# ${[name, ...args].join(' ')}`);
  const child = spawn(process.execPath, ['--expose-gc', join(here, `${name}.js`), ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const ended = new Promise<number | null>((resolve) => child.once('close', resolve));
  let fine = true;
  for await (const line of createInterface({ input: child.stdout })) {
    try {
      checkFigure(line);
      console.log(line);
    } catch (error) {
      fine = false;
      console.error(`${name}: ${(error as Error).message}`);
    }
  }
  const code = await ended;
  if (code !== 0) console.error(`${name} ended with ${code ?? 'a signal'}`);
  return fine && code === 0;
}

for (const name of wanted.length > 0 ? wanted : names)
  for (const args of variants(name)) if (!(await run(name, args))) process.exitCode = 1;
