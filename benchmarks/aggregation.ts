/**
 * What a server does with the updates of a round of 100 clients, 10 million numbers each: checks them, combines them and makes
 * its next state, for every stage of every method and for the robust rules. One JSON line a figure, beside a plain copy in the
 * same process; GB are 10⁹ bytes of updates read and of one result written, `processor` is seconds of processor time, `memory`
 * the most that the process had resident, in GB. Sums take an update as it comes and let it go, so four different updates stand
 * for a hundred; what needs all of them at once has a hundred different ones. The numbers are those of 76 modules; rules that
 * would take many minutes work module by module, and are measured on the number of modules said beside them.
 * `-- --only METHOD` measures one (`robust`: the robust rules), `--modules N` everything on N modules.
 */
import { parseArgs } from 'node:util';
import type { ClientData, TokenRow } from '../src/data/types.ts';
import { combinerOf, updateProblem } from '../src/federation/combine.ts';
import type { Adapter } from '../src/lora/adapter.ts';
import { initAdapter } from '../src/lora/init.ts';
import { loraLayout, type Projection } from '../src/lora/layout.ts';
import { methods } from '../src/methods/registry.ts';
import type { ClientUpdate, Stage } from '../src/methods/stage.ts';
import { memoryMeter } from '../src/run/memory.ts';
import type { Engine } from '../src/runtime/engine.ts';
import type { State } from '../src/tensor/state.ts';
import type { Tensors } from '../src/tensor/tensor.ts';
import { byteSize, countNumbers, mapTensors } from '../src/tensor/tensors.ts';
import { robustMean, type RobustRule } from '../src/federation/robust/rule.ts';
import { clientKit } from '../src/train/client-kit.ts';
import { plainTraining } from '../tests/support/rounds.ts';
import { print, rounded, timed, type Timed } from './support/figures.ts';

const { only, modules: modulesGiven } = parseArgs({
  options: { only: { type: 'string' }, modules: { type: 'string' } },
}).values;
const wantedModules = modulesGiven === undefined ? undefined : Number(modulesGiven);
if (wantedModules !== undefined && !(Number.isInteger(wantedModules) && wantedModules > 0))
  throw new Error(`--modules ${modulesGiven}: a whole number above 0`);
if (only !== undefined && only !== 'robust' && !methods.some(({ name }) => name === only))
  throw new Error(`--only ${only}: there are ${methods.map(({ name }) => name).join(', ')} and robust`);

const MODULES = 76;
const CLIENTS = 100;
const clientName = (k: number): string => `client-${String(k).padStart(2, '0')}`;
const names = Array.from({ length: CLIENTS }, (_, k) => clientName(k));

/** Query projections of a model of width 4096, r 16: 131,072 numbers each. */
function adapterOf(modules: number, rank = 16) {
  const projections = Array.from({ length: modules }, (_, layer): Projection => ({
    name: `model.layers.${layer}.self_attn.q_proj`,
    inFeatures: 4096,
    outFeatures: 4096,
  }));
  return initAdapter(loraLayout(projections, { targets: ['q_proj'], rank, alpha: 2 * rank }), 1);
}

/** Numbers around 0 that differ from call to call, as fast as they are needed. */
function noise(seed: number): () => number {
  let state = (seed * 2_654_435_761 + 1) >>> 0;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32 - 0.5;
  };
}

const like = (tensors: Tensors, draw: () => number, size: number): Tensors =>
  mapTensors(tensors, ({ shape, data }) => ({ shape, data: data.map(() => size * draw()) }));

/** Gradients without a model; the clients of this benchmark only train. */
function engineOf(adapter: Adapter, seed: number): Engine {
  const draw = noise(seed);
  const wanted = (key: string, want: 'A' | 'B' | 'AB'): boolean =>
    want === 'AB' || key.endsWith(want === 'A' ? 'lora_A' : 'lora_B');
  const training: Pick<Engine, 'layout' | 'vocabularySize' | 'maxLength' | 'step'> = {
    layout: adapter.layout,
    vocabularySize: 2,
    maxLength: 2,
    step: async (factors, { targets }, want) => ({
      loss: 1,
      tokens: targets.length,
      gradients: new Map([...like(factors, draw, 1e-3)].filter(([key]) => wanted(key, want))),
    }),
  };
  return training as Engine;
}

const rowOf = (id: string): TokenRow => ({ id, ids: Int32Array.of(0, 1), labelled: Uint8Array.of(0, 1) });

/** What a client sends in a stage's first round, by the stage's own client code. */
async function updateOf(stage: Stage, shared: State, adapter: Adapter, k: number): Promise<ClientUpdate> {
  const id = clientName(k);
  const client: ClientData = { id, train: [rowOf(id)], validation: [], test: [], testExamples: [] };
  const signal = new AbortController().signal;
  const kit = clientKit({ client, engine: engineOf(adapter, k + 1), seed: 1, stage: stage.name, round: 0, signal });
  const received = new Map([...(stage.frozen?.(shared, 0) ?? []), ...stage.broadcast(shared, id, 0)]);
  const work = stage.work(received, undefined, kit);
  for (;;) {
    const next = await work.next();
    if (next.done) return { client: id, update: next.value.update, weight: next.value.weight };
  }
}

const whole = adapterOf(wantedModules ?? MODULES);
const numbers = MODULES * countNumbers(adapterOf(1).factors);
const [from, to] = [new Float32Array(numbers).fill(1), new Float32Array(numbers).fill(2)];
const copied = Math.min(...Array.from({ length: 9 }, () => timed(() => to.set(from)).seconds));
const copySpeed = (8 * numbers) / 1e9 / copied;
print('plain copy', copySpeed, 'GB/s', { numbers });

const memory = memoryMeter();
function printSpeed(figure: string, bytes: number, { seconds, processor }: Timed, modules: number, more: object): void {
  const speed = bytes / 1e9 / seconds;
  const peak = memory.lap();
  print(figure, speed, 'GB/s', {
    share_of_copy: rounded(speed / copySpeed),
    seconds: rounded(seconds),
    processor: rounded(processor),
    ...(peak !== undefined && { memory: rounded(peak / 1e9) }),
    ...more,
    ...(modules < MODULES && { modules: `${modules} of ${MODULES}` }),
  });
}

const train = { ...plainTraining, rate: 1e-3 };

/** One round of a stage at the server. `different`: how many of the hundred updates are. */
async function serverRound(stage: Stage, adapter: Adapter, different: number) {
  const shared = stage.start({ adapter, before: undefined, clients: names });
  const updates: ClientUpdate[] = [];
  for (let k = 0; k < different; k++) updates.push(await updateOf(stage, shared, adapter, k));
  const time = timed(() => {
    const combiner = combinerOf(stage.combine)!;
    for (const [k, client] of names.entries()) {
      const given = { ...updates[k % different]!, client };
      const problem = updateProblem(given, stage.broadcast(shared, client, 0));
      if (problem !== undefined) throw new Error(problem);
      combiner.add(given);
    }
    return stage.apply(shared, combiner.finish()!.combined, 0);
  });
  const bytes = byteSize(updates[0]!.update);
  return { bytes: (CLIENTS + 1) * bytes, time, numbers: bytes / 4 };
}

/** Rules that take many minutes for all modules, on as many as a minute allows. */
const modulesOf: Readonly<Record<string, number>> = { flexlora: 1, 'flora-na': 1, 'lora-fair': 2 };
const seen = new Set<string>();
for (const method of methods) {
  if (only !== undefined && method.name !== only) continue;
  const laidOut = (adapter: Adapter): readonly Stage[] =>
    method.stages(method.options.parse({}), { layout: adapter.layout, rounds: 1, fraction: 1, train });
  for (const [index, { combine, participants, name }] of laidOut(whole).entries()) {
    if (combine === 'none' || participants === 'proxy' || participants === 'pooled') continue;
    // FedLoRA-Optimizer may name stages of the same work more than once.
    const figure = `${method.name}, ${name}`;
    if (seen.has(figure)) continue;
    seen.add(figure);
    const modules = wantedModules ?? modulesOf[method.name] ?? MODULES;
    const adapter = modules === whole.layout.modules.length ? whole : adapterOf(modules);
    globalThis.gc?.();
    memory.lap();
    const different = combine === 'sum' ? 4 : CLIENTS;
    const { bytes, time, numbers: sent } = await serverRound(laidOut(adapter)[index]!, adapter, different);
    printSpeed(figure, bytes, time, modules, { combine, numbers: sent });
  }
}

const rules: Readonly<Record<string, RobustRule>> = {
  krum: { rule: 'krum', bad: 20 },
  'multi-krum': { rule: 'multi-krum', bad: 20 },
  median: { rule: 'median' },
  'trimmed mean': { rule: 'trimmed-mean', share: 0.2 },
  'geometric median': { rule: 'geometric-median' },
  bulyan: { rule: 'bulyan', bad: 20 },
};
if (only === undefined || only === 'robust') {
  const modules = wantedModules ?? 2;
  const { factors } = adapterOf(modules);
  const updates = names.map((_, k) => like(factors, noise(k + 1), 1));
  memory.lap();
  for (const [name, rule] of Object.entries(rules)) {
    const time = timed(() => robustMean(updates, rule));
    const bytes = (CLIENTS + 1) * byteSize(factors);
    printSpeed(`robust: ${name}`, bytes, time, modules, { numbers: countNumbers(factors) });
  }
}
