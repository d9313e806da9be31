import { basename, extname, join } from 'node:path';
import { Interrupted } from '../../errors.ts';
import { sweepText } from '../../experiments/sweep-table.ts';
import { sweep } from '../../experiments/sweep.ts';
import type { Terminal } from '../context.ts';
import { onInterrupt } from '../exit.ts';
import { numberFlag } from '../flags.ts';
import { sweepView } from '../sweep-view.ts';

export interface SweepFlags {
  readonly out?: string;
  readonly jobs: string;
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
  try {
    const results = await sweep(file, { out, jobs, signal: interrupt.signal, onEvent: (event) => view.tell(event) });
    view.clear();
    terminal.print(`\n${sweepText(results)}\n\nresults: ${join(out, 'results.csv')}\nreport: ${join(out, 'report.html')}`);
  } catch (error) {
    if (!(error instanceof Interrupted)) throw error;
    throw new Interrupted('nothing is lost. To go on: the same command', { cause: error });
  } finally {
    view.clear();
    interrupt.release();
  }
}
