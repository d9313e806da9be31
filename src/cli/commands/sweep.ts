import { basename, extname, join } from 'node:path';
import { Interrupted } from '../../errors.ts';
import { planSweep, type SweepPlan } from '../../experiments/dry-run.ts';
import { sweepText } from '../../experiments/sweep-table.ts';
import { sweep } from '../../experiments/sweep.ts';
import { duration, percent, short, whole } from '../../report/format.ts';
import { toText } from '../../report/table.ts';
import type { Terminal } from '../context.ts';
import { onInterrupt } from '../exit.ts';
import { numberFlag } from '../flags.ts';
import { sweepView } from '../sweep-view.ts';

export interface SweepFlags {
  readonly out?: string;
  readonly jobs: string;
  readonly dryRun?: boolean;
}

/** `fedlora sweep SWEEP.yaml` */
export async function sweepCommand(file: string, flags: SweepFlags, terminal: Terminal): Promise<void> {
  const jobs = numberFlag('--jobs', flags.jobs, { least: 1, most: 256, whole: true });
  const out = flags.out ?? join('runs', basename(file, extname(file)));
  const view = sweepView(terminal.log, terminal.paint);
  const interrupt = onInterrupt((text) => {
    view.clear();
    terminal.say(text);
  });
  const { signal } = interrupt;
  try {
    if (flags.dryRun === true) {
      for (const line of planLines(await planSweep(file, { out, signal }), jobs)) terminal.print(line);
      return;
    }
    const results = await sweep(file, { out, jobs, signal, onEvent: (event) => view.tell(event) });
    view.clear();
    terminal.print(
      `\n${sweepText(results)}\n\nresults: ${join(out, 'results.csv')}\nreport: ${join(out, 'report.html')}`,
    );
  } catch (error) {
    if (!(error instanceof Interrupted)) throw error;
    throw new Interrupted('nothing is lost. To go on: the same command', { cause: error });
  } finally {
    view.clear();
    interrupt.release();
  }
}

/** What `--dry-run` tells. */
export function planLines({ arms, runs, tries, seconds, basis }: SweepPlan, jobs: number): string[] {
  const rows = arms.map((arm) => [
    arm.label,
    String(arm.tries),
    whole(arm.steps),
    short(arm.labelledTokens),
    percent(arm.shared, 0),
    duration(arm.seconds),
  ]);
  const head = ['arm', 'tries', 'steps of a run', 'labelled tokens', 'shared', 'time left'];
  const table = toText({ head, right: head.map((_, i) => i > 0), rows });
  const left = (of: SweepPlan['runs'], what: string): string[] =>
    of.all === 0 ? [] : [`${of.all - of.done} of ${of.all} ${what} to do`];
  const time =
    jobs === 1 ? duration(seconds) : `${duration(seconds)} of work, ${duration(seconds / jobs)} with ${jobs} jobs`;
  return [table, '', `${[...left(tries, 'tries'), ...left(runs, 'runs')].join(', ')}; about ${time}, by ${basis}`];
}
