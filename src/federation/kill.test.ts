import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { compiled } from '../../tests/support/compile.ts';
import { temporaryFolder } from '../../tests/support/temporary.ts';
import { stream } from '../tensor/random.ts';

const folder = temporaryFolder();
const script = compiled('tests/support/killed-run.ts');

/** Runs the script in a folder; kills it hard so many milliseconds after it is ready, or after its start where these are negative. */
async function runFor(folder: string, ms: number): Promise<'ended' | 'killed'> {
  const child = spawn(process.execPath, [script, folder], { stdio: ['ignore', 'pipe', 'inherit'] });
  const kill = (): void => void child.kill('SIGKILL');
  if (ms < 0) setTimeout(kill, -ms);
  else child.stdout.once('data', () => setTimeout(kill, ms));
  const [code, signal] = await new Promise<[number | null, string | null]>((done) =>
    child.once('exit', (code, signal) => done([code, signal])),
  );
  if (signal === null && code !== 0) throw new Error(`the run ended with exit code ${code}`);
  return signal === null ? 'ended' : 'killed';
}

const printOf = (folder: string): string => readFileSync(join(folder, 'print'), 'utf8');

test('a run killed hard at random moments, and resumed each time, ends with the bits of one that was not', async () => {
  const whole = join(folder, 'whole');
  mkdirSync(whole);
  expect(await runFor(whole, 60_000)).toBe('ended');
  const random = stream(17, 'kills');
  let kills = 0;
  for (let chain = 0; chain < 3; chain++) {
    const killed = join(folder, `killed-${chain}`);
    mkdirSync(killed);
    while (!existsSync(join(killed, 'print'))) {
      // Mostly while it works, sometimes while it starts.
      const ms = random.uniform() < 0.2 ? -random.integer(250) - 1 : random.integer(160);
      if ((await runFor(killed, ms)) === 'killed') kills++;
    }
    expect(printOf(killed)).toBe(printOf(whole));
  }
  expect(kills).toBeGreaterThan(10);
}, 180_000);
