import { basename, extname, join } from 'node:path';
import { Interrupted } from '../../errors.ts';
import { finalTable, toText } from '../../report/table.ts';
import { readConfig } from '../../run/read-config.ts';
import { serve, type Serving } from '../../run/serve.ts';
import type { Terminal } from '../context.ts';
import { onInterrupt } from '../exit.ts';
import { progressView } from '../progress.ts';
import { printable } from '../style.ts';

export interface ServeFlags {
  readonly out?: string;
  readonly resume?: boolean;
  readonly set: readonly string[];
}

/** Seconds between two lines of whom the run waits for. */
const TELL = 30;

/** `fedlora serve CONFIG.yaml` */
export async function serveCommand(file: string, flags: ServeFlags, terminal: Terminal): Promise<void> {
  const config = await readConfig(file, { sets: flags.set });
  const out = flags.out ?? join('runs', basename(file, extname(file)));
  const { say, print, log, paint } = terminal;
  const view = progressView(log, paint);
  const tell = (text: string): void => {
    view.clear();
    say(text);
  };
  const interrupt = onInterrupt(tell);
  let clock: NodeJS.Timeout | undefined;
  try {
    const { signal } = interrupt;
    const onError = (error: unknown): void => tell(paint('red', `server: ${printable(String(error))}`));
    const events = serve(config, { out, resume: flags.resume ?? false, signal, onError });
    for (;;) {
      const next = await events.next();
      if (next.done) {
        view.clear();
        print(`\n${toText(finalTable(next.value))}\n\nreport: ${join(out, 'report.html')}`);
        return;
      }
      const event = next.value;
      if (event.kind === 'serving') {
        for (const line of opening(event)) tell(line);
        clock = setInterval(() => {
          const text = waitingFor(event);
          if (text !== undefined) tell(text);
        }, TELL * 1000);
      } else if (event.kind === 'gathered') {
        tell(event.missing.length === 0 ? 'all clients are here' : `beginning without ${event.missing.join(', ')}`);
      } else {
        view.tell(event);
      }
    }
  } catch (error) {
    if (!(error instanceof Interrupted)) throw error;
    throw new Interrupted(`nothing is lost; clients wait. To go on: the same command with --resume`, { cause: error });
  } finally {
    clearInterval(clock);
    view.clear();
    interrupt.release();
  }
}

const opening = ({ url, tokens, operators, paused, clients }: Extract<Serving, { kind: 'serving' }>): string[] => [
  `serving on ${url}`,
  `clients: ${clients.join(', ')}`,
  `enrolment tokens not used yet: ${tokens} (one file each; hand them out over a safe channel)`,
  `tokens of operators, for fedlora admin: ${operators}`,
  ...(paused === undefined ? [] : [`paused since ${new Date(paused).toISOString()}: fedlora admin resume`]),
  `a client joins with: fedlora join ${url} --data ITS-DATA --token ITS-TOKEN`,
];

/** Whom the run waits for and since when, in one line; undefined where it waits for nobody. */
function waitingFor({ waiting }: Extract<Serving, { kind: 'serving' }>): string | undefined {
  const clock = (at: number): string => new Date(at).toISOString().slice(11, 19);
  const list = waiting();
  if (list.length === 0) return undefined;
  const some = list
    .slice(0, 8)
    .map(
      ({ client, since, heard }) =>
        `${client} since ${clock(since)} (${heard === undefined ? 'never heard from' : `last heard ${clock(heard)}`})`,
    );
  return `waiting for ${some.join(', ')}${list.length > some.length ? ` and ${list.length - some.length} more` : ''} · UTC`;
}
