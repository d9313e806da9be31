import { basename, extname, join } from 'node:path';
import { readConfig } from '../../run/read-config.ts';
import type { Terminal } from '../context.ts';
import { showRun } from '../show-run.ts';

export interface RunFlags {
  readonly out?: string;
  readonly resume?: boolean;
  readonly seed?: string;
  readonly set: readonly string[];
}

/** `fedlora run CONFIG.yaml` */
export async function runCommand(file: string, flags: RunFlags, terminal: Terminal): Promise<void> {
  const sets = [...flags.set, ...(flags.seed === undefined ? [] : [`seed=${flags.seed}`])];
  const config = await readConfig(file, { sets });
  const out = flags.out ?? join('runs', basename(file, extname(file)));
  await showRun(
    config,
    { out, resume: flags.resume ?? false },
    `fedlora run ${quoted(file, flags, out)} --resume`,
    terminal,
  );
}

/** The command's arguments, fit for a shell. */
function quoted(file: string, flags: RunFlags, out: string): string {
  const sets = flags.set.flatMap((set) => ['--set', set]);
  const seed = flags.seed === undefined ? [] : ['--seed', flags.seed];
  const safe = (word: string): string => (/^[\w./=,:@%+-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`);
  return [file, '--out', out, ...seed, ...sets].map(safe).join(' ');
}
