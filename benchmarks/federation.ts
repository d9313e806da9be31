/**
 * What federation costs beside the clients' own work: a task that does nothing, many registered clients, and the share of a
 * round that is not client compute. One JSON line a figure. The journal is on disk and synced, as in a run.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import type { ClientData, TokenRow } from '../src/data/types.ts';
import type { ClientSource } from '../src/federation/clients.ts';
import type { RoundSettings, RunEvent } from '../src/federation/events.ts';
import { openJournal } from '../src/federation/journal.ts';
import { runMethod, type MethodRun } from '../src/federation/run-method.ts';
import { initAdapter } from '../src/lora/init.ts';
import { loraLayout, type Projection } from '../src/lora/layout.ts';
import type { Stage } from '../src/methods/stage.ts';
import { fedit } from '../src/methods/fedit.ts';
import { projectionsOf } from '../src/models/weights.ts';
import type { Engine } from '../src/runtime/engine.ts';
import { openModelFolder } from '../src/formats/files/model.ts';
import { openEngine } from '../src/runtime/node/open.ts';
import { stream } from '../src/tensor/random.ts';
import { byteSize } from '../src/tensor/tensors.ts';
import type { Tensors } from '../src/tensor/tensor.ts';
import { plainTraining } from '../tests/support/rounds.ts';
import { smollm2 } from './support/models.ts';

const say = (figure: string, value: number, unit: string, more: object = {}): void =>
  console.log(JSON.stringify({ figure, value: Number(value.toPrecision(4)), unit, ...more }));

/** SmolLM2's q and v projections at rank 11: 2.5 MB of float32. */
const projections = Array.from({ length: 30 }, (_, layer): Projection[] => [
  { name: `model.layers.${layer}.self_attn.q_proj`, inFeatures: 576, outFeatures: 576 },
  { name: `model.layers.${layer}.self_attn.v_proj`, inFeatures: 576, outFeatures: 192 },
]).flat();
const layout = loraLayout(projections, { targets: ['q_proj', 'v_proj'], rank: 11, alpha: 22 });
const initial = initAdapter(layout, 1);
const megabytes = Number((byteSize(initial.factors) / 1e6).toFixed(2));

/** Clients hand back what they were sent; with `keeps` also as their private state. */
const nothing = (rounds: number, keeps: boolean): Stage<Tensors> => ({
  name: 'nothing',
  rounds,
  participants: 'sampled',
  combine: 'sum',
  start: ({ adapter }) => adapter.factors,
  broadcast: (shared) => shared,
  // oxlint-disable-next-line require-yield -- nothing is trained, so there is no progress
  async *work(received) {
    return { update: received, weight: 1, mine: keeps ? received : null };
  },
  apply: (shared) => shared,
  models: (factors) => [{ adapter: { layout, factors }, weight: 1 }],
});

const unused = (): never => {
  throw new Error('the clients of this benchmark do not compute');
};
const noEngine: Engine = {
  layout,
  vocabularySize: 0,
  maxLength: 0,
  step: unused,
  score: unused,
  generate: unused,
  represent: unused,
  close: async () => undefined,
};

function randomRows(id: string, count: number, length: number, vocabulary: number): TokenRow[] {
  const random = stream(1, 'rows', id);
  return Array.from({ length: count }, (_, i) => ({
    id: `${id}-${i}`,
    ids: Int32Array.from({ length }, () => random.integer(vocabulary)),
    labelled: new Uint8Array(length).fill(1, Math.floor(length / 2)),
  }));
}

const clientOf = (id: string, rows: number, length: number, vocabulary = 49_152): ClientData => ({
  id,
  train: randomRows(id, rows, length, vocabulary),
  validation: [],
  test: [],
  testExamples: [],
});

interface TimedRound {
  /** The whole round, its commit included. */
  readonly seconds: number;
  readonly clientSeconds: number;
}

/** Runs stages with a journal of their own. */
async function ran(
  setup: Omit<MethodRun, 'journal' | 'label' | 'seed'>,
  each?: (event: RunEvent) => void,
): Promise<TimedRound[]> {
  const folder = mkdtempSync(join(tmpdir(), 'fedlora-bench-'));
  const journal = openJournal({ path: join(folder, 'journal.sqlite'), identity: { run: 'benchmark' }, resume: false });
  const rounds: TimedRound[] = [];
  try {
    for await (const event of runMethod({ ...setup, label: 'benchmark', seed: 1, journal })) {
      each?.(event);
      if (event.kind !== 'round done') continue;
      const { seconds, clientSeconds } = event.record;
      rounds.push({ seconds: seconds + event.commitSeconds, clientSeconds });
    }
    return rounds;
  } finally {
    journal.close();
    rmSync(folder, { recursive: true });
  }
}

async function noOpTask(clients: number): Promise<void> {
  const all: RoundSettings = { sampling: 'all', fraction: 1, deadline: 60, minimum: 1 };
  const data = Array.from({ length: clients }, (_, i) => clientOf(`client-${i}`, 1, 8));
  const started = process.cpuUsage();
  const timed = await ran({
    stages: [nothing(9, false)],
    initial,
    clients: data,
    engine: noEngine,
    rounds: all,
  });
  const used = process.cpuUsage(started);
  const times = timed.map(({ seconds }) => (1000 * seconds) / clients).sort((a, b) => a - b);
  say('no-op client task in process', times[times.length >> 1]!, 'ms', {
    target: 2,
    of: 'median round with its commit / clients',
    processor: Number(((used.user + used.system) / 1000 / clients / timed.length).toPrecision(3)),
    fastest: Number(times[0]!.toPrecision(3)),
    slowest: Number(times.at(-1)!.toPrecision(3)),
    adapterMB: megabytes,
    clients,
  });
}

/** Anonymous memory of this process, bytes; undefined where the system does not tell. */
function anonymous(): number | undefined {
  try {
    const line = /^RssAnon:\s+(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'utf8'));
    return line ? Number(line[1]) * 1024 : undefined;
  } catch {
    return undefined;
  }
}

const now = (): number => anonymous() ?? process.memoryUsage().rss;
const before = now();

async function registeredClients(keeps: boolean): Promise<void> {
  globalThis.gc?.();
  const ids = Array.from({ length: 10_000 }, (_, i) => `client-${String(i).padStart(5, '0')}`);
  // Twenty rows of fifty tokens each, all held in memory.
  const data = new Map(ids.map((id) => [id, clientOf(id, 20, 50)]));
  const clients: ClientSource = { ids, get: (id) => data.get(id)! };
  const held = now() - before;
  let peak = before;
  const rounds: RoundSettings = { sampling: 'fixed', fraction: 0.01, deadline: 60, minimum: 1 };
  const timed = await ran(
    { stages: [nothing(6, keeps)], initial, clients, engine: noEngine, rounds },
    () => (peak = Math.max(peak, now())),
  );
  say(
    `10,000 registered clients, 1 % a round${keeps ? ', each keeping a private adapter' : ''}: peak memory`,
    (peak - before) / 1e9,
    'GB',
    {
      target: 1,
      over: 'the process before anything ran',
      withTheirRowsAlone: Number((held / 1e9).toPrecision(3)),
      adapterMB: megabytes,
      secondsPerRound: Number((timed.reduce((sum, { seconds }) => sum + seconds, 0) / 6).toPrecision(3)),
      kind: anonymous() === undefined ? 'resident' : 'anonymous',
    },
  );
}

async function overhead(name: string, folder: string, length: number): Promise<void> {
  const model = await openModelFolder(folder);
  const layout = loraLayout(projectionsOf(model.config), { targets: ['q_proj', 'v_proj'], rank: 8, alpha: 16 });
  const engine = await openEngine({ model, layout });
  const train = { ...plainTraining, batchSize: 4, length: { steps: 2 }, rate: 3e-4, clip: 1 };
  const stages = fedit.stages({}, { layout, rounds: 3, fraction: 1, train });
  const clients = ['a', 'b', 'c', 'd'].map((id) => clientOf(id, 8, length, model.config.vocabularySize));
  const rounds: RoundSettings = { sampling: 'all', fraction: 1, deadline: 3600, minimum: 1 };
  // The first round compiles the session: that is neither work nor overhead of a round.
  const [, ...timed] = await ran({ stages, initial: initAdapter(layout, 1), clients, engine, rounds });
  await engine.close();
  const total = (of: keyof TimedRound): number => timed.reduce((sum, round) => sum + round[of], 0);
  say(`federation overhead, ${name}`, 1 - total('clientSeconds') / total('seconds'), 'share of a round', {
    target: 0.05,
    roundSeconds: Number((total('seconds') / timed.length).toPrecision(4)),
    clients: clients.length,
    steps: 2,
    rows: 4,
    tokens: length,
  });
}

await noOpTask(100);
await registeredClients(false);
await registeredClients(true);
await overhead('embedded model', resolve('assets/model'), 64);
const folder = smollm2();
if (folder === undefined) console.error('SmolLM2 is not there: set FEDLORA_SHARED for its figure');
else await overhead('SmolLM2-135M', folder, 128);
