import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { RunConfigInput } from '../config/schema.ts';
import { Interrupted, UserError } from '../errors.ts';
import { listen, type Listener } from '../federation/http/server/listener.ts';
import { merge } from '../federation/merge.ts';
import type { Summary, UnmeasuredSummary } from '../report/summary.ts';
import type { Progress } from './events.ts';
import { runFolder } from './folder.ts';
import { alreadyFinished, serveRun, type ServeOptions, type Serving } from './serve.ts';
import { closeAll, type Closing } from './serve-open.ts';
import { listenOptions, prepareToServe, type Prepared } from './serve-prepare.ts';

export interface NamedRun {
  /** Of its place on the server, `/runs/NAME`, and of its folder. */
  readonly name: string;
  readonly config: RunConfigInput;
}

/** How a run of several ended. */
export type Ended = { readonly run: string; readonly out: string } & (
  | { readonly summary: Summary | UnmeasuredSummary }
  /** `Interrupted` where an operator or the signal stopped it. */
  | { readonly error: unknown }
);

export interface Told {
  readonly run: string;
  readonly event: Progress | Serving | ({ readonly kind: 'ended' } & Ended);
}

/**
 * Serves several runs behind one address, each at `/runs/NAME` and in its own folder below `out`, with nothing in common: one that
 * fails, finishes or is stopped leaves the others alone. Throws UserError before it listens for a mistake in any of them. Gives how
 * each ended once all have; `resume` goes on with those that had not.
 */
export async function* serveSeveral(
  runs: readonly NamedRun[],
  options: ServeOptions,
): AsyncGenerator<Told, readonly Ended[]> {
  const out = resolve(options.out);
  requireNames(runs.map(({ name }) => name));
  if (existsSync(runFolder(out).config))
    throw new UserError(`${out} is the folder of one run: choose another --out for several`);
  const control = new AbortController();
  const signal = AbortSignal.any([control.signal, ...(options.signal ? [options.signal] : [])]);
  const ended: Ended[] = [];
  const prepared: (Prepared & { readonly name: string })[] = [];
  for (const { name, config } of runs) {
    const own = { out: join(out, name), resume: options.resume ?? false, signal };
    const ready = yield* of(name, prepareToServe(config, own), `${name}: `);
    if (ready.state !== 'finished') prepared.push({ ...ready, name });
    else ended.push({ run: name, out: own.out, summary: yield* of(name, alreadyFinished(ready)) });
  }
  const [first, ...others] = prepared;
  if (first === undefined) return ended;
  for (const other of others) requireSame(first, other);
  const names = prepared.map(({ name }) => name);
  const listener = await listen(names, {
    ...(await listenOptions(first.settings, join(out, 'tls'))),
    onError: options.onError,
  });
  const closing: Closing[] = [];
  try {
    const going = prepared.map((one) => toItsEnd(one, { listener, signal, closing, ended }));
    yield* merge(going, going.length);
    return ended;
  } finally {
    control.abort(new Interrupted('stopped on request'));
    await listener.close();
    await closeAll(closing);
  }
}

/** A run until it ends, however it does. One that is over goes on telling its clients so, until `closing`. */
async function* toItsEnd(
  prepared: Prepared & { readonly name: string },
  all: {
    readonly listener: Listener;
    readonly signal: AbortSignal;
    readonly closing: Closing[];
    readonly ended: Ended[];
  },
): AsyncGenerator<Told, void> {
  const { name, folder } = prepared;
  const { listener, signal } = all;
  const closing: Closing[] = [];
  const about = { run: name, out: folder.path };
  let end: Ended;
  try {
    end = { ...about, summary: yield* of(name, serveRun(prepared, { listener, name, closing, signal })) };
    all.closing.push(...closing);
  } catch (error) {
    end = { ...about, error };
    // Who goes on with it later finds its folder free, and its clients wait.
    if (error instanceof Interrupted) await closeAll(closing);
    else all.closing.push(...closing);
  }
  all.ended.push(end);
  yield { run: name, event: { kind: 'ended', ...end } };
}

async function* of<R>(
  run: string,
  events: AsyncGenerator<Progress | Serving, R>,
  before = '',
): AsyncGenerator<Told, R> {
  try {
    for (;;) {
      const next = await events.next();
      if (next.done) return next.value;
      yield { run, event: next.value };
    }
  } catch (error) {
    if (error instanceof UserError && before !== '') throw new UserError(before + error.message, { cause: error });
    throw error;
  }
}

/** A name is a part of a path, and of a file's. */
function requireNames(names: readonly string[]): void {
  const seen = new Set<string>();
  for (const name of names) {
    if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$/.test(name))
      throw new UserError(
        `“${name}” cannot be a run's name, which is that of its file: letters of a to z, digits, and . _ - behind the first`,
      );
    if (seen.has(name.toLowerCase()))
      throw new UserError(`two runs are called “${name}”: the files' names must differ in more than case`);
    seen.add(name.toLowerCase());
  }
}

function requireSame(one: Prepared & { readonly name: string }, other: Prepared & { readonly name: string }): void {
  for (const key of ['host', 'port', 'tls'] as const)
    if (JSON.stringify(one.settings[key]) !== JSON.stringify(other.settings[key]))
      throw new UserError(
        `serve.${key} is another in ${one.name} than in ${other.name}, and one server listens for both: give both the same`,
      );
}
