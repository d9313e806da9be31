import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { join as at } from 'node:path';
import { expect, test } from 'vitest';
import { temporaryFolder } from '../../tests/support/temporary.ts';
import { embeddedModel, smallServed, writeFewRows } from '../../tests/support/workspace.ts';
import { join } from '../client.ts';
import type { RunConfigInput } from '../config/schema.ts';
import { Interrupted, UserError } from '../errors.ts';
import { openAdmin } from './admin.ts';
import { serveSeveral, type Ended, type NamedRun, type Told } from './serve-several.ts';
import type { ServeOptions, Serving } from './serve.ts';

const root = temporaryFolder();
const folder = (): string => mkdtempSync(at(root, 's-'));
const config = (serve: Partial<NonNullable<RunConfigInput['serve']>> = {}): RunConfigInput => ({
  ...smallServed,
  serve: { clients: ['ann'], port: 0, linger: 5, ...serve },
});

/** Starts them; `serving` waits until a run can be joined. */
function started(runs: readonly NamedRun[], out: string, more: Partial<ServeOptions> = {}) {
  const told: Told[] = [];
  const waiting = new Map<string, (event: Extract<Serving, { kind: 'serving' }>) => void>();
  const onError = (error: unknown): never => {
    throw error;
  };
  const events = serveSeveral(runs, { out, onError, ...more });
  const ended = (async (): Promise<readonly Ended[]> => {
    for (;;) {
      const next = await events.next();
      if (next.done) return next.value;
      told.push(next.value);
      const { run, event } = next.value;
      if (event.kind === 'serving') waiting.get(run)?.(event);
    }
  })();
  const serving = (run: string) =>
    Promise.race([
      new Promise<Extract<Serving, { kind: 'serving' }>>((done) => waiting.set(run, done)),
      ended.then(() => Promise.reject(new Error('all ended'))),
    ]);
  return { told, ended, serving };
}

async function takePart(out: string, served: Extract<Serving, { kind: 'serving' }>): Promise<string> {
  writeFewRows(at(out, 'rows.jsonl'));
  const token = readFileSync(at(served.tokens, 'ann.token'), 'utf8').trim();
  const { how } = await join({
    url: served.url,
    data: at(out, 'rows.jsonl'),
    model: { path: embeddedModel },
    threads: 1,
    patience: 20,
    token,
    out: at(out, `ann of ${new URL(served.url).pathname.replaceAll('/', ' ')}`),
  });
  return how;
}

const hows = (ended: readonly Ended[]): Record<string, string> =>
  Object.fromEntries(
    ended.map((one) => [one.run, 'summary' in one ? 'finished' : (one.error as Error).constructor.name]),
  );

test('one run fails, one is stopped, one finishes; started again, the finished one is left and the stopped one goes on', async () => {
  const out = folder();
  const runs = [
    { name: 'empty', config: config({ gather: 0.2, linger: 0 }) },
    { name: 'halted', config: config() },
    { name: 'whole', config: config() },
  ];
  const first = started(runs, out);
  const [halted, whole] = await Promise.all([first.serving('halted'), first.serving('whole')]);
  expect(new URL(halted.url).pathname).toBe('/runs/halted');
  expect(new URL(halted.url).origin).toBe(new URL(whole.url).origin);
  const control = new AbortController();
  const token = readFileSync(at(halted.operators, 'admin.token'), 'utf8').trim();
  const admin = openAdmin({ url: halted.url, token, signal: control.signal });
  expect(await admin.stop()).toMatchObject({ state: 'stopping' });
  const answer = async (run: string): Promise<number> =>
    (await fetch(`${new URL(whole.url).origin}/runs/${run}/v1/run`)).status;
  while ((await answer('halted')) !== 503) await new Promise((done) => setTimeout(done, 20));
  // The failed one goes on saying how it ended.
  while (!first.told.some(({ run, event }) => run === 'empty' && event.kind === 'ended'))
    await new Promise((done) => setTimeout(done, 20));
  expect(await answer('empty')).toBe(200);
  expect(await takePart(out, whole)).toBe('finished');
  const ended = await first.ended;
  expect(hows(ended)).toEqual({ empty: 'UserError', halted: 'Interrupted', whole: 'finished' });
  const results = readFileSync(at(out, 'whole', 'summary.json'), 'utf8');

  const again = started(runs.slice(1), out, { resume: true });
  expect(await takePart(out, await again.serving('halted'))).toBe('finished');
  expect(hows(await again.ended)).toEqual({ halted: 'finished', whole: 'finished' });
  expect(readFileSync(at(out, 'whole', 'summary.json'), 'utf8')).toBe(results);
  expect(again.told.filter(({ run }) => run === 'whole').map(({ event }) => event.kind)).toEqual(['finished']);
});

test('an end asked for from outside interrupts every run, and nothing is lost', async () => {
  const control = new AbortController();
  const { ended, serving } = started(
    [
      { name: 'a', config: config() },
      { name: 'b', config: config() },
    ],
    folder(),
    { signal: control.signal },
  );
  await Promise.all([serving('a'), serving('b')]);
  control.abort(new Interrupted('stopped on request'));
  expect(hows(await ended)).toEqual({ a: 'Interrupted', b: 'Interrupted' });
});

test.each([
  ['a name that is no part of a path', [{ name: 'a b', config: config() }], '“a b” cannot be a run’s name'],
  [
    'one name twice',
    [
      { name: 'a', config: config() },
      { name: 'A', config: config() },
    ],
    'two runs are called “A”',
  ],
  [
    'two addresses',
    [
      { name: 'a', config: config() },
      { name: 'b', config: config({ host: '::1' }) },
    ],
    'serve.host is another in a than in b',
  ],
  [
    'a mistake in one of them',
    [
      { name: 'a', config: config() },
      { name: 'b', config: { ...config(), methods: [{ use: 'centralised' }] } },
    ],
    'b: methods[0] (centralised)',
  ],
] as [string, NamedRun[], string][])('%s is refused before anything is written', async (_, runs, message) => {
  const out = at(folder(), 'out');
  const { told, ended } = started(runs, out);
  const error = await ended.catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(UserError);
  expect((error as Error).message.replaceAll("'", '’')).toContain(message);
  expect(told).toEqual([]);
  expect(() => readFileSync(out)).toThrow('ENOENT');
});

test('the folder of one run is not that of several', async () => {
  const out = folder();
  writeFileSync(at(out, 'config.yaml'), '');
  await expect(started([{ name: 'a', config: config() }], out).ended).rejects.toThrow('is the folder of one run');
});
