import { spawn } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { compiled } from '../../tests/support/compile.ts';
import { temporaryFolder } from '../../tests/support/temporary.ts';
import { stream } from '../tensor/random.ts';
import { openDatabase } from './database.ts';

const folder = temporaryFolder();
type Engine = 'fake' | 'real';
const script = compiled('tests/support/killed-run.ts');

/** When to kill: so many milliseconds after the start, or after so many events. */
type Moment = { readonly started: number } | { readonly events: number; readonly wait: number };

/** Runs the script in a folder, and kills it hard at that moment unless it ends before. */
async function runUntil(moment: Moment | 'the end', folder: string, engine: Engine): Promise<'ended' | 'killed'> {
  const child = spawn(process.execPath, [script, folder, engine], { stdio: ['ignore', 'pipe', 'inherit'] });
  const kill = (): void => void child.kill('SIGKILL');
  let events = 0;
  child.stdout.on('data', (dots: Buffer) => {
    events += dots.length;
    if (moment !== 'the end' && 'events' in moment && events > moment.events) setTimeout(kill, moment.wait);
  });
  if (moment !== 'the end' && 'started' in moment) setTimeout(kill, moment.started);
  const [code, signal] = await new Promise<[number | null, string | null]>((done) =>
    child.once('exit', (code, signal) => done([code, signal])),
  );
  if (signal === null && code !== 0) throw new Error(`the run ended with exit code ${code}`);
  return signal === null ? 'ended' : 'killed';
}

const printOf = (folder: string): string => readFileSync(join(folder, 'print'), 'utf8');

/** Kills chains of runs at random moments until each has ended; every end must have the bits of the run that was left alone. */
async function killed(engine: Engine, chains: number, upTo: number): Promise<{ kills: number; moments: Set<number> }> {
  const whole = join(folder, `${engine}-whole`);
  mkdirSync(whole);
  expect(await runUntil('the end', whole, engine)).toBe('ended');
  const random = stream(17, 'kills', engine);
  const moments = new Set<number>();
  let kills = 0;
  for (let chain = 0; chain < chains; chain++) {
    const part = join(folder, `${engine}-${chain}`);
    mkdirSync(part);
    for (;;) {
      // Mostly while it works, sometimes while it starts.
      const moment =
        random.uniform() < 0.2
          ? { started: random.integer(300) }
          : { events: random.integer(upTo), wait: random.integer(4) };
      if ((await runUntil(moment, part, engine)) === 'ended') break;
      kills++;
      moments.add(committedIn(part));
    }
    expect(printOf(part)).toBe(printOf(whole));
  }
  return { kills, moments };
}

/** Events that a killed run has left in its journal, read from a copy: the journal itself stays as the kill left it. */
function committedIn(part: string): number {
  const copy = mkdtempSync(join(folder, 'copy-'));
  cpSync(part, copy, { recursive: true });
  const path = join(copy, 'journal.sqlite');
  if (!existsSync(path)) return 0;
  const database = openDatabase(path);
  const tables = database.all(`select name from sqlite_master where name = 'events'`);
  const count = tables.length > 0 ? Number(database.all('select count(*) as n from events')[0]!['n']) : 0;
  database.close();
  return count;
}

describe('a run killed hard at random moments, and resumed each time, ends with the bits of one that was not', () => {
  test('with a loss in closed form', async () => {
    const { kills, moments } = await killed('fake', 3, 140);
    expect(kills).toBeGreaterThan(8);
    expect(moments.size).toBeGreaterThan(4);
  }, 180_000);

  test('FedLoRA-Optimizer on a real Llama', async () => {
    const { kills, moments } = await killed('real', 1, 60);
    expect(kills).toBeGreaterThan(1);
    expect(moments.size).toBeGreaterThan(1);
  }, 180_000);
});
