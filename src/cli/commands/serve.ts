import { basename, extname, join } from 'node:path';
import { Interrupted, UserError } from '../../errors.ts';
import type { Summary, UnmeasuredSummary } from '../../report/summary.ts';
import { finalTable, toText } from '../../report/table.ts';
import { unmeasuredTable } from '../../report/unmeasured.ts';
import { forOthers } from '../../run/address.ts';
import type { Progress } from '../../run/events.ts';
import { readConfig } from '../../run/read-config.ts';
import { serveSeveral, type Ended, type NamedRun } from '../../run/serve-several.ts';
import { serve, type Serving } from '../../run/serve.ts';
import type { Terminal } from '../context.ts';
import { onInterrupt } from '../exit.ts';
import { progressView, type ProgressView } from '../progress.ts';
import { printable } from '../style.ts';
import { waitingLine } from '../waiting.ts';

export interface ServeFlags {
  readonly out?: string;
  readonly resume?: boolean;
  readonly set: readonly string[];
}

/** Seconds between two lines of whom the run waits for. */
const TELL = 30;

const nameOf = (file: string): string => basename(file, extname(file));

/** `fedlora serve CONFIG.yaml…` */
export async function serveCommand(files: readonly string[], flags: ServeFlags, terminal: Terminal): Promise<void> {
  const [file, ...others] = files;
  return others.length === 0 ? serveOne(file!, flags, terminal) : serveAll(files, flags, terminal);
}

async function serveOne(file: string, flags: ServeFlags, terminal: Terminal): Promise<void> {
  const config = await readConfig(file, { sets: flags.set });
  const out = flags.out ?? join('runs', nameOf(file));
  const { say, print, log, paint } = terminal;
  const view = progressView(log, paint);
  const tell = (text: string): void => {
    view.clear();
    say(text);
  };
  const show = servingView(view, tell);
  const interrupt = onInterrupt(tell);
  try {
    const { signal } = interrupt;
    const events = serve(config, { out, resume: flags.resume ?? false, signal, onError: onError(tell, paint) });
    for (;;) {
      const next = await events.next();
      if (next.done) {
        view.clear();
        print(results(next.value, out));
        return;
      }
      show.tell(next.value);
    }
  } catch (error) {
    if (!(error instanceof Interrupted)) throw error;
    throw stopped(error);
  } finally {
    show.close();
    interrupt.release();
  }
}

/** Several runs on one server: every line says of which. */
async function serveAll(files: readonly string[], flags: ServeFlags, terminal: Terminal): Promise<void> {
  const { say, print, log, paint } = terminal;
  const runs: NamedRun[] = [];
  for (const file of files) runs.push({ name: nameOf(file), config: await readConfig(file, { sets: flags.set }) });
  const views = new Map(
    runs.map(({ name }) => {
      const before = paint('dim', `${name}: `);
      const screen = { write: (text: string) => log.write(`${before}${text}`) };
      return [name, servingView(progressView(screen, paint), (text) => say(before + text))];
    }),
  );
  const interrupt = onInterrupt(say);
  try {
    const { signal } = interrupt;
    const options = { out: flags.out ?? 'runs', resume: flags.resume ?? false, signal, onError: onError(say, paint) };
    const events = serveSeveral(runs, options);
    for (;;) {
      const next = await events.next();
      if (next.done) return requireDone(next.value);
      const { run, event } = next.value;
      if (event.kind !== 'ended') {
        views.get(run)!.tell(event);
        continue;
      }
      views.get(run)!.close();
      if ('summary' in event) print(`\n${run}\n${results(event.summary, event.out)}`);
      else say(`${run} ${paint('yellow', 'has ended:')} ${printable(reasonOf(event.error))}`);
    }
  } finally {
    for (const view of views.values()) view.close();
    interrupt.release();
  }
}

/** Throws where not all runs are done: the worst that happened. */
function requireDone(ended: readonly Ended[]): void {
  const errors = ended.flatMap((one) => ('error' in one ? [one] : []));
  const failed = errors.filter(({ error }) => !(error instanceof Interrupted));
  const [first] = errors;
  if (first === undefined) return;
  if (failed.length === 0) throw stopped(first.error);
  const text = failed.map(({ run, error }) => `${run}: ${reasonOf(error)}`).join('\n');
  const cause = failed[0]!.error;
  throw failed.every(({ error }) => error instanceof UserError)
    ? new UserError(text, { cause })
    : new Error(text, { cause });
}

const reasonOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

const stopped = (cause: unknown): Interrupted =>
  new Interrupted(`nothing is lost; clients wait. To go on: the same command with --resume`, { cause });

const onError =
  (tell: (text: string) => void, paint: Terminal['paint']) =>
  (error: unknown): void =>
    tell(paint('red', `server: ${printable(String(error))}`));

const results = (summary: Summary | UnmeasuredSummary, out: string): string =>
  `\n${toText('base' in summary ? finalTable(summary) : unmeasuredTable(summary))}\n\nreport: ${join(out, 'report.html')}`;

/** What a run tells, and now and then whom it waits for, until it is closed. */
function servingView(
  view: ProgressView,
  tell: (text: string) => void,
): { tell(event: Progress | Serving): void; close(): void } {
  let clock: NodeJS.Timeout | undefined;
  return {
    tell(event) {
      if (event.kind === 'serving') {
        for (const line of opening(event)) tell(line);
        clock = setInterval(() => {
          const text = waitingLine(event.waiting());
          if (text !== undefined) tell(text);
        }, TELL * 1000);
      } else if (event.kind === 'gathered') {
        tell(event.missing.length === 0 ? 'all clients are here' : `beginning without ${event.missing.join(', ')}`);
      } else {
        view.tell(event);
      }
    },
    close() {
      clearInterval(clock);
      view.clear();
    },
  };
}

const opening = ({
  url,
  fingerprint,
  tokens,
  operators,
  paused,
  clients,
}: Extract<Serving, { kind: 'serving' }>): string[] => [
  `serving on ${url}`,
  ...(fingerprint === undefined ? [] : [`certificate made here, of SHA-256 fingerprint ${fingerprint}`]),
  `clients: ${clients.join(', ')}`,
  `enrolment tokens not used yet: ${tokens} (one file each; hand them out over a safe channel)`,
  `tokens of operators, for fedlora admin: ${operators}`,
  ...(paused === undefined ? [] : [`paused since ${new Date(paused).toISOString()}: fedlora admin resume`]),
  `a client joins with: fedlora join ${forOthers(url)} --data ITS-DATA --token ITS-TOKEN${fingerprint === undefined ? '' : ` --fingerprint ${fingerprint.replaceAll(':', '').toLowerCase()}`}`,
];
