import { existsSync } from 'node:fs';
import { basename, extname, join } from 'node:path';
import { Interrupted, UserError } from '../../errors.ts';
import { analyze, type AnalyzeOptions } from '../../experiments/analyze.ts';
import { compareAdapters } from '../../experiments/compare-adapters.ts';
import { writeSensitivity } from '../../experiments/analysis-folder.ts';
import { caveat, ratioTable } from '../../experiments/sensitivity-table.ts';
import type { Sensitivity } from '../../experiments/sensitivity-result.ts';
import { toText } from '../../report/table.ts';
import { readConfig } from '../../run/read-config.ts';
import { analysisView } from '../analysis-view.ts';
import type { Terminal } from '../context.ts';
import { onInterrupt } from '../exit.ts';
import { numberFlag } from '../flags.ts';

export interface AnalyzeFlags {
  readonly out?: string;
  readonly resume?: boolean;
  readonly steps?: string;
  readonly at?: string;
  readonly from?: string;
  readonly to?: string;
  readonly seed?: string;
  readonly set: readonly string[];
}

/** `fedlora analyze CONFIG.yaml` or `--from ADAPTER --to ADAPTER`: how A's and B's magnitudes and directions change. */
export async function analyzeCommand(file: string | undefined, flags: AnalyzeFlags, terminal: Terminal): Promise<void> {
  const { from, to } = flags;
  if (from !== undefined || to !== undefined) {
    if (file !== undefined || from === undefined || to === undefined) {
      throw new UserError('give a configuration to train by, or both --from and --to to compare two adapters');
    }
    return compare(from, to, flags, terminal);
  }
  if (file === undefined) {
    throw new UserError('what is to be analysed? A configuration, or two adapters: --from FOLDER --to FOLDER');
  }
  await train(file, flags, terminal);
}

async function compare(from: string, to: string, flags: AnalyzeFlags, { print }: Terminal): Promise<void> {
  const idle = (['resume', 'steps', 'at', 'seed'] as const).find((flag) => flags[flag] !== undefined);
  if (idle !== undefined || flags.set.length > 0) {
    throw new UserError(`--${idle ?? 'set'} has no meaning where two adapters are compared: nothing is trained`);
  }
  const { out } = flags;
  if (out !== undefined && existsSync(out)) {
    throw new UserError(`${out} is there already: choose another output folder`);
  }
  const result = await compareAdapters(from, to);
  if (out !== undefined) await writeSensitivity(out, result);
  show(result, print, out === undefined ? undefined : join(out, 'report.html'));
}

async function train(file: string, flags: AnalyzeFlags, terminal: Terminal): Promise<void> {
  const { log, paint, print, say } = terminal;
  const config = await readConfig(file, {
    sets: [...flags.set, ...(flags.seed === undefined ? [] : [`seed=${flags.seed}`])],
  });
  const out = flags.out ?? join('runs', `${basename(file, extname(file))}-sensitivity`);
  const view = analysisView(log, paint);
  const interrupt = onInterrupt((text) => {
    view.clear();
    say(text);
  });
  const options: AnalyzeOptions = {
    out,
    resume: flags.resume ?? false,
    signal: interrupt.signal,
    ...(flags.steps !== undefined && { steps: numberFlag('--steps', flags.steps, { least: 2, whole: true }) }),
    ...(flags.at !== undefined && { at: numberFlag('--at', flags.at, { least: 0, most: 1 }) }),
  };
  try {
    const events = analyze(config, options);
    for (;;) {
      const next = await events.next();
      if (next.done) {
        view.clear();
        return show(next.value.result, print, next.value.report);
      }
      view.tell(next.value);
    }
  } catch (error) {
    if (!interrupt.signal.aborted) throw error;
    throw new Interrupted(
      'clients that are done are kept. To go on: the same command with --resume added, which trains only the others',
      { cause: error },
    );
  } finally {
    view.clear();
    interrupt.release();
  }
}

function show(result: Sensitivity, print: (text: string) => void, report: string | undefined): void {
  print(`\n${toText(ratioTable(result))}\n\n${caveat(result)}`);
  for (const { client, reason } of result.leftOut) print(`left out: ${client}: ${reason}`);
  if (report !== undefined) print(`\nreport: ${report}`);
}
