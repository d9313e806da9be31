import { readFileSync, writeFileSync } from 'node:fs';
import { setTimeout } from 'node:timers/promises';
import { expect } from 'vitest';
import { start, type Started } from './cli.ts';
import { embeddedModel, embeddedTasks, joinArguments, smallConfig, writeConfig, type workspace } from './workspace.ts';

// A federation of real processes on the embedded model.

/** What every client does with its own rows. */
export const split = { limit: 24, split: { validation: 2, test: 4 } };
const { path: _, ...brought } = smallConfig.data;
/** Of the rows that clients bring. */
export const format = brought;

type Folder = ReturnType<typeof workspace>;

/** Each client's rows in a file of its own, and all together. */
export function deal(folder: Folder, names: readonly string[]): void {
  const lines = readFileSync(embeddedTasks, 'utf8').trimEnd().split('\n');
  const of = (name: string): string[] =>
    lines.filter((line) => (JSON.parse(line) as { client: string }).client === name);
  for (const name of names) writeFileSync(folder.at(`${name}.jsonl`), `${of(name).join('\n')}\n`);
  writeFileSync(folder.at('all.jsonl'), `${names.flatMap(of).join('\n')}\n`);
}

/** Writes serve.yaml of a run with these clients, and gives the file of its simulation on the rows that were dealt. */
export function writeFederation(
  folder: Folder,
  names: readonly string[],
  settings: object,
  serve: object = {},
  clients: object = {},
): string {
  const shared = { ...settings, model: { path: embeddedModel } };
  writeConfig(folder.at('serve.yaml'), {
    ...shared,
    data: format,
    clients: { ...split, ...clients },
    serve: { clients: names, port: 0, ...serve },
  });
  return writeConfig(folder.at('run.yaml'), {
    ...shared,
    data: { ...format, path: folder.at('all.jsonl') },
    clients: { partition: 'column', column: 'client', ...split, ...clients },
  });
}

/** What a process has said so far, also of its earlier lives. */
function listening(log: { text: string }, { child }: Started): void {
  child.stderr!.setEncoding('utf8').on('data', (text: string) => (log.text += text));
}

export async function until(what: string, true_: () => boolean): Promise<void> {
  for (let i = 0; !true_(); i++) {
    if (i > 12_000) throw new Error(`waited too long until ${what}`);
    await setTimeout(20);
  }
}

export async function serving(
  folder: Folder,
  log: { text: string },
  args: readonly string[],
): Promise<Started & { url: string }> {
  log.text = '';
  const started = start(['serve', folder.at('serve.yaml'), '--out', folder.at('server'), ...args], { limit: 400_000 });
  listening(log, started);
  const over = started.ended.then((ended) => (log.text += `\nended: ${ended.stderr}`));
  void over;
  await until(`the server listens (${log.text})`, () => /^(serving on .*|ended: [^]*)$/m.test(log.text));
  const url = /^serving on (.*)$/m.exec(log.text)?.[1];
  if (url === undefined) throw new Error(log.text);
  return { ...started, url };
}

export function joining(
  folder: Folder,
  url: string,
  name: string,
  log: { text: string },
  more: readonly string[] = [],
): Started {
  const token = readFile(folder.at('server', 'server', 'tokens', `${name}.token`));
  const started = start(['join', ...joinArguments(folder, url, name), '--patience', '120', ...more], {
    limit: 400_000,
    env: token === undefined ? {} : { FEDLORA_TOKEN: token.trim() },
  });
  listening(log, started);
  return started;
}

/** The server and every client end by themselves, with exit code 0. */
export async function endWell(server: Started, clients: ReadonlyMap<string, Started>): Promise<void> {
  const { code, stderr } = await server.ended;
  expect(code, stderr).toBe(0);
  for (const [name, { ended }] of clients) {
    const over = await ended;
    expect(over.code, `${name}: ${over.stderr}`).toBe(0);
  }
}

/**
 * A federation whose sums are secure, to its end: the server is killed hard when the first sum has begun, cobalt while it trains in
 * the second round. Gives what each client has said over its lives.
 * @param back arguments with which cobalt comes back
 */
export async function sumsThroughKills(
  folder: Folder,
  names: readonly string[],
  back: (said: (name: string) => string) => readonly string[] = () => [],
): Promise<ReadonlyMap<string, string>> {
  const log = { text: '' };
  const first = await serving(folder, log, []);
  const { url } = first;
  const logs = new Map(names.map((name) => [name, { text: '' }]));
  const said = (name: string): string => logs.get(name)!.text;
  const clients = new Map(names.map((name) => [name, joining(folder, url, name, logs.get(name)!)]));

  await until('a sum has begun', () => names.some((name) => said(name).includes('round 1: adding up under masks')));
  first.child.kill('SIGKILL');
  await first.ended;
  const again = await serving(folder, log, ['--resume', '--set', `serve.port=${new URL(url).port}`]);
  await until('the second round trains', () => said('cobalt').includes('round 2: training'));
  clients.get('cobalt')!.child.kill('SIGKILL');
  await clients.get('cobalt')!.ended;
  clients.set('cobalt', joining(folder, url, 'cobalt', logs.get('cobalt')!, back(said)));
  await endWell(again, clients);
  return new Map(names.map((name) => [name, said(name)]));
}

export function readFile(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}

/** Tasks that a client worked on, and those it sent, in order, over all its lives. */
export function work(log: string): { done: string; sent: boolean }[] {
  const list: { done: string; sent: boolean }[] = [];
  for (const line of log.split('\n')) {
    const training = /^(.*): training$/.exec(line);
    if (training) list.push({ done: training[1]!, sent: false });
    else if (/^ {2}(sent|told)/.test(line) && list.length > 0) list.at(-1)!.sent = true;
  }
  return list;
}
