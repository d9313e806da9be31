import { join, relative } from 'node:path';
import type { RunConfig } from '../config/schema.ts';
import { Interrupted } from '../errors.ts';
import { whole } from '../report/format.ts';
import type { Summary } from '../report/summary.ts';
import { finalTable, toText } from '../report/table.ts';
import type { Opening } from '../run/events.ts';
import { run, type RunOptions } from '../run/run.ts';
import type { Terminal } from './context.ts';
import { onInterrupt } from './exit.ts';
import { progressView } from './progress.ts';
import { printable } from './style.ts';

/** Runs a configuration with its progress on the terminal, ending with the table and where the report lies. `again`: the command that goes on. */
export async function showRun(
  config: RunConfig,
  options: Omit<RunOptions, 'signal' | 'onEvent'>,
  again: string,
  terminal: Terminal,
): Promise<Summary> {
  const { say, print, log, paint } = terminal;
  const view = progressView(log, paint);
  const interrupt = onInterrupt((text) => {
    view.clear();
    say(text);
  });
  try {
    const summary = await run(config, {
      ...options,
      signal: interrupt.signal,
      onEvent: (event) => {
        if (event.kind === 'opened') for (const line of opening(event, terminal)) say(line);
        view.tell(event);
      },
    });
    print(`\n${toText(finalTable(summary))}\n\nreport: ${join(options.out, 'report.html')}`);
    return summary;
  } catch (error) {
    if (!(error instanceof Interrupted)) throw error;
    throw new Interrupted(`nothing is lost. To go on: ${again}`, { cause: error });
  } finally {
    view.clear();
    interrupt.release();
  }
}

/** What is about to be trained, before it is: sizes, clients, and one row as the model sees it. */
function opening({ model, layout, data, example, out, resumed }: Opening, { paint }: Terminal): string[] {
  const share = `${((100 * model.trainable) / (model.parameters + model.trainable)).toFixed(3)} %`;
  const rows = data.clients.reduce((sum, { train, validation, test }) => sum + train + validation + test, 0);
  const dropped = Object.entries(data.dropped).map(([why, n]) => `${whole(n)} left out (${why})`);
  const cut = data.truncated > 0 ? [`${whole(data.truncated)} cut to the maximum length`] : [];
  const shown = example.map(({ text, labelled }) =>
    labelled
      ? `${paint(['green', 'bold'], '⟦')}${paint('green', printable(text))}${paint(['green', 'bold'], '⟧')}`
      : paint('dim', printable(text)),
  );
  return [
    `${resumed ? 'resuming' : 'writing to'} ${relative('.', out) || '.'}`,
    `model  ${printable(model.name)}: ${whole(model.parameters)} parameters; LoRA on ${layout.modules.length} projections: ${whole(model.trainable)} trainable (${share})`,
    `data   ${printable(data.name)}: ${[`${whole(rows)} of ${whole(data.rows)} rows`, ...dropped, ...cut].join(', ')}; ${data.clients.length === 1 ? 'one client' : `${data.clients.length} clients`}, ${printable(data.partition)}`,
    `one training row, the part that is learnt between ⟦ and ⟧:`,
    ...shown
      .join('')
      .split('\n')
      .map((line) => `  ${line}`),
    '',
  ];
}
