import type { Method } from '../methods/method.ts';
import type { Summary } from '../report/summary.ts';
import type { Progress } from '../run/events.ts';
import { runEvents } from '../run/run.ts';
import type { Cell } from './cells.ts';
import type { CellProgress, Runner } from './run-cells.ts';

/** Does runs in this process. `shelf`: where they leave and find what they share. */
export const runnerHere = (shelf: string, methods?: readonly Method[]): Runner => ({
  async run({ config, out, tried }: Cell, tell, signal): Promise<Summary> {
    const progress = cellProgress();
    const events = runEvents(config, {
      out,
      resume: true,
      report: false,
      shelf,
      scoreOn: tried === undefined ? 'test' : 'validation',
      signal,
      ...(methods && { methods }),
    });
    for (;;) {
      const next = await events.next();
      if (next.done) return next.value;
      const now = progress(next.value);
      if (now !== undefined) tell(now);
    }
  },
  close: () => undefined,
});

/** Turns a run's events into how far it is; undefined where that has not changed. */
function cellProgress(): (event: Progress) => CellProgress | undefined {
  let tasks: number[] = [];
  let done: number[] = [];
  let stages = 0;
  let loss: number | undefined;
  const now = (): CellProgress => {
    const all = tasks.reduce((sum, each) => sum + each, 0);
    const past = done.reduce((sum, each, i) => sum + Math.min(each, tasks[i] ?? 0), 0);
    return { share: all === 0 ? 0 : past / all, stages, ...(loss !== undefined && { loss }) };
  };
  return (event) => {
    if (event.kind === 'opened') {
      tasks = event.plan[0]!.stages.map(({ rounds, clients }) => rounds * clients);
      done = tasks.map(() => 0);
    } else if (event.kind === 'stage started')
      done[event.stageIndex] = (tasks[event.stageIndex]! * event.resumedAt) / event.rounds;
    else if (event.kind === 'client done') done[event.stageIndex]! += 1;
    else if (event.kind === 'stage done') done[event.stageIndex] = tasks[event.stageIndex]!;
    else if (event.kind === 'stage evaluated') stages = event.stageIndex + 1;
    else {
      if (event.kind === 'progress') loss = event.progress.loss;
      return undefined;
    }
    return now();
  };
}
