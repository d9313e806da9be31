/**
 * A server under load, beside Flower's SuperLink: `npm run bench -- load`. Everything in processes of its own on this machine, over real
 * connections on loopback. Clients do not train: their updates are ready-made, of the right form, each with bytes of its own. One JSON
 * line a figure. `rounds`: 200 clients at once with adapters of 10 MB; `idle`: as many enrolled clients as descriptors permit, up to
 * 10,000, that wait for a task over a WebSocket; `polls`: by polling; `flower`: rounds with
 * Flower, needs FEDLORA_FLOWER_PYTHON (benchmarks/flower/requirements.txt).
 *
 *     node .cache/build/benchmarks/load.js rounds idle flower --clients 200 --megabytes 10 --rounds 3 --waiting 10000 --folder /dev/shm
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { Agent, get } from 'node:http';
import { availableParallelism, loadavg, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { PROTOCOL } from '../src/federation/http/protocol.ts';
import { newSecret } from '../src/federation/http/server/keys.ts';
import { print, rounded } from './support/figures.ts';
import { talkTo, type Talking } from './support/talking.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    clients: { type: 'string', default: '200' },
    megabytes: { type: 'string', default: '10' },
    rounds: { type: 'string', default: '3' },
    /** Processes that the clients share. */
    processes: { type: 'string', default: '4' },
    waiting: { type: 'string', default: '10000' },
    /** Where servers keep their data. */
    folder: { type: 'string', default: tmpdir() },
  },
});
const [count, megabytes, rounds, processes, waiting] = [
  values.clients,
  values.megabytes,
  values.rounds,
  values.processes,
  values.waiting,
].map(Number) as [number, number, number, number, number];
const wants = (part: string): boolean => positionals.length === 0 || positionals.includes(part);
/** For which idle clients are looked at. */
const SECONDS_IDLE = 30;
const support = join(import.meta.dirname, 'support');
const about = { cores: availableParallelism(), load: rounded(loadavg()[0]!), folder: values.folder };

interface Served {
  readonly url: string;
  readonly run: string;
  readonly tokens: string;
  readonly clients: readonly string[];
  readonly seconds: number;
}

interface Begun {
  readonly server: Talking;
  readonly served: Served;
  readonly sides: readonly Talking[];
  /** Of all joining. */
  readonly seconds: number;
  /** Bytes of the server's memory before it did anything. */
  readonly bare: number;
  readonly close: () => Promise<void>;
}

/** A server with so many invited clients, and clients in some processes that have joined. */
async function begun(clients: number, rounds: number, idle: 'socket' | 'poll' | null): Promise<Begun> {
  const folder = mkdtempSync(join(values.folder, 'fedlora-load-'));
  const sides: Talking[] = [];
  const server = talkTo(process.execPath, [
    '--expose-gc',
    join(support, 'load-server.js'),
    ...[clients, rounds, megabytes, folder].map(String),
  ]);
  try {
    await server.next('bare');
    const bare = server.memory().now;
    server.tell({});
    const served = (await server.next('ready')) as unknown as Served;
    const from = performance.now();
    for (let i = 0; i < processes; i++) {
      const side = talkTo(process.execPath, [join(support, 'load-client.js'), String(megabytes)]);
      sides.push(side);
      const own = served.clients.flatMap((name, number) =>
        number % processes === i
          ? [{ name, number, token: readFileSync(join(served.tokens, `${name}.token`), 'utf8').trim() }]
          : [],
      );
      side.tell({ url: served.url, run: served.run, clients: own, idle });
    }
    await Promise.all(sides.map((side) => side.next('joined')));
    const seconds = (performance.now() - from) / 1000;
    return {
      server,
      served,
      sides,
      seconds,
      bare,
      async close() {
        await Promise.all(sides.map((side) => side.close()));
        await server.close();
        rmSync(folder, { recursive: true });
      },
    };
  } catch (error) {
    for (const one of [server, ...sides]) one.kill();
    rmSync(folder, { recursive: true, force: true });
    throw error;
  }
}

interface Times {
  readonly count: number;
  readonly median: number;
  readonly p99: number;
  readonly longest: number;
}

/** Asks for something small ten times a second, whether or not the answers come, until it is stopped. Milliseconds. */
async function probe({ url, run, tokens }: Served): Promise<{ stop(): Times }> {
  const key = newSecret();
  const token = readFileSync(join(tokens, 'probe.token'), 'utf8').trim();
  const post = async (path: string, secret: string, body: object): Promise<void> => {
    const headers = { authorization: `Bearer ${secret}`, 'content-type': 'application/json' };
    const response = await fetch(`${url}/v1/${path}`, { method: 'POST', headers, body: JSON.stringify(body) });
    if (!response.ok) throw new Error(`${path}: ${response.status}`);
  };
  await post('join', token, { protocol: PROTOCOL, fedlora: 'benchmark', run, key });
  await post('ready', key, { data: { train: 1, validation: 0, test: 0, labelledTokens: 1 } });
  const agent = new Agent({ keepAlive: true });
  const times: number[] = [];
  const clock = setInterval(() => {
    const from = performance.now();
    get(`${url}/v1/next?wait=0`, { agent, headers: { authorization: `Bearer ${key}` } }, (response) => {
      response.resume().on('end', () => times.push(performance.now() - from));
    }).on('error', () => times.push(Infinity));
  }, 100);
  return {
    stop() {
      clearInterval(clock);
      agent.destroy();
      const sorted = times.sort((a, b) => a - b);
      const at = (share: number): number =>
        rounded(sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))]!);
      return { count: sorted.length, median: at(0.5), p99: at(0.99), longest: at(1) };
    },
  };
}

async function rounds_(): Promise<number> {
  const { server, served, sides, bare, close } = await begun(count, rounds, null);
  for (const side of sides) side.tell({});
  await Promise.all(sides.map((side) => side.next('made')));
  const asking = await probe(served);
  const processor = server.processor();
  server.tell({});
  const seconds: number[] = [];
  for (let i = 0; i < rounds; i++) {
    const { seconds: took, updates } = await server.next('round');
    if (updates !== count) throw new Error(`a round has ${String(updates)} updates`);
    seconds.push(Number(took));
  }
  const used = server.processor() - processor;
  const times = asking.stop();
  const { peak } = server.memory();
  const done = await Promise.all(sides.map((side) => side.next('done')));
  const cuts = done.reduce((sum, side) => sum + Number(side['cuts']), 0);
  await close();
  const round = seconds.reduce((sum, value) => sum + value, 0) / rounds;
  const what = { clients: count, adapterMB: megabytes, rounds, ...about };
  print('load: rounds per minute', 60 / round, '1/min', {
    seconds: seconds.map(rounded),
    processorSecondsPerRound: rounded(used / rounds),
    cuts,
    ...what,
  });
  print('load: payloads, up and down', (2 * count * megabytes) / round, 'MB/s', what);
  print('load: a small request meanwhile, p99', times.p99, 'ms', { ...times, ...what });
  print('load: memory of the server', (peak - bare) / 2 ** 20, 'MiB beyond its start', {
    bare: rounded(bare / 2 ** 20),
    payloads: rounded((peak - bare) / (megabytes * 1e6)),
    ...what,
  });
  return round;
}

const limit = (): number =>
  Number(/^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'latin1'))?.[1] ?? 1024);

/** Clients that only wait for a task, over WebSockets or by polling. */
async function idle(how: 'socket' | 'poll'): Promise<void> {
  const clients = Math.min(waiting, limit() - 1000);
  const { server, served, sides, seconds, bare, close } = await begun(clients, 0, how);
  for (const side of sides) side.tell({});
  await Promise.all(sides.map((side) => side.next('idle')));
  const processor = server.processor();
  const asking = await probe(served);
  await new Promise((done) => setTimeout(done, SECONDS_IDLE * 1000));
  const times = asking.stop();
  const used = (server.processor() - processor) / SECONDS_IDLE;
  server.tell('look');
  await server.next('collected');
  const { now } = server.memory();
  await close();
  const what = { clients, how, descriptors: limit(), ...about };
  print(`idle, ${how}: memory`, (now - bare) / clients / 1024, 'KiB a client', {
    serverMiB: rounded(now / 2 ** 20),
    ...what,
  });
  print(`idle, ${how}: a small request meanwhile, p99`, times.p99, 'ms', { ...times, ...what });
  print(`idle, ${how}: processor`, used, 'cores', {
    secondsToStart: rounded(served.seconds),
    secondsToJoin: rounded(seconds),
    ...what,
  });
}

/** The same rounds by Flower's SuperLink; gives seconds of one. */
async function flower(python: string): Promise<number> {
  const script = resolve('benchmarks/flower/rounds.py');
  const side = talkTo(python, [script, ...[count, rounds, megabytes, processes].map(String)]);
  const { version } = await side.next('ready');
  const seconds: number[] = [];
  for (let i = 0; i < rounds; i++) seconds.push(Number((await side.next('round')).seconds));
  const { superlinkMiB } = await side.next('done');
  await side.close();
  const round = seconds.reduce((sum, value) => sum + value, 0) / rounds;
  const what = { clients: count, adapterMB: megabytes, rounds, version, ...about };
  print('Flower: rounds per minute', 60 / round, '1/min', { seconds: seconds.map(rounded), ...what });
  print('Flower: memory of the SuperLink', Number(superlinkMiB), 'MiB at most', what);
  return round;
}

const ours = wants('rounds') ? await rounds_() : undefined;
const python = process.env['FEDLORA_FLOWER_PYTHON'];
if (wants('flower')) {
  if (python === undefined)
    console.error(
      'load: without Flower, since FEDLORA_FLOWER_PYTHON names no Python that has it (benchmarks/flower/requirements.txt)',
    );
  else {
    const theirs = await flower(python);
    if (ours !== undefined)
      print('load: rounds per minute, Flower = 1', theirs / ours, 'times', { clients: count, megabytes, ...about });
  }
}
if (wants('idle')) await idle('socket');
if (wants('polls')) await idle('poll');
