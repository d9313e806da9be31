import type { ClientData, TokenRow } from '../../src/data/types.ts';
import { combinerOf, updateProblem } from '../../src/federation/combine.ts';
import { keyOfA, keyOfB, type Adapter, type LoraLayout } from '../../src/lora/adapter.ts';
import type { Method } from '../../src/methods/method.ts';
import type { ClientUpdate, Stage } from '../../src/methods/stage.ts';
import type { Engine } from '../../src/runtime/engine.ts';
import type { State } from '../../src/tensor/state.ts';
import type { Tensors } from '../../src/tensor/tensor.ts';
import { byteSize, getTensor, mapTensors } from '../../src/tensor/tensors.ts';
import { clientKit } from '../../src/train/client-kit.ts';
import { contextOf, plainTraining } from '../../tests/support/rounds.ts';
import { needed } from '../../tests/support/tried.ts';
import { timed, type Timed } from './figures.ts';

/** A method's stages as the benchmark runs them: one round each, one step a client, with the options it cannot be without. */
export const stagesOf = (method: Method, layout: LoraLayout): readonly Stage[] =>
  method.stages(
    method.options.parse(needed[method.name] ?? {}),
    contextOf(layout, { train: { ...plainTraining, rate: 1e-3 } }),
  );

/** Whether clients of the stage send something to the server. */
export const atServer = ({ combine, participants }: Stage): boolean =>
  combine !== 'none' && participants !== 'proxy' && participants !== 'pooled';

/** Numbers around 0 that differ from call to call, as fast as they are needed. */
export function noise(seed: number): () => number {
  let state = (seed * 2_654_435_761 + 1) >>> 0;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32 - 0.5;
  };
}

/** Tensors of these shapes with other numbers. */
export const like = (tensors: Tensors, draw: () => number, size: number): Tensors =>
  mapTensors(tensors, ({ shape, data }) => ({ shape, data: data.map(() => size * draw()) }));

/** Gradients without a model; the clients of this benchmark only train. */
function engineOf({ layout }: Adapter, seed: number): Engine {
  const draw = noise(seed);
  const ofA = new Set(layout.modules.map(({ name }) => keyOfA(name)));
  const ofB = new Set(layout.modules.map(({ name }) => keyOfB(name)));
  const training: Pick<Engine, 'layout' | 'vocabularySize' | 'maxLength' | 'step'> = {
    layout,
    vocabularySize: 2,
    maxLength: 2,
    step: async (factors, { targets }, want) => {
      const left = want === 'A' ? ofB : want === 'B' ? ofA : new Set<string>();
      const wanted = new Map([...factors].filter(([key]) => !left.has(key)));
      return { loss: 1, tokens: targets.length, gradients: like(wanted, draw, 1e-3) };
    },
  };
  return training as Engine;
}

const rowOf = (id: string): TokenRow => ({ id, ids: Int32Array.of(0, 1), labelled: Uint8Array.of(0, 1) });

/** What a client sends in a stage's first round, by the stage's own client code. */
async function updateOf(
  stage: Stage,
  shared: State,
  adapter: Adapter,
  client: string,
  seed: number,
): Promise<ClientUpdate> {
  const data: ClientData = { id: client, train: [rowOf(client)], validation: [], test: [], testExamples: [] };
  const signal = new AbortController().signal;
  const kit = clientKit({
    client: data,
    engine: engineOf(adapter, seed),
    seed: 1,
    stage: stage.name,
    round: 0,
    rounds: 1,
    signal,
  });
  const received = new Map([...(stage.frozen?.(shared, 0) ?? []), ...stage.broadcast(shared, client, 0)]);
  const work = stage.work(received, undefined, kit);
  for (;;) {
    const next = await work.next();
    if (next.done) return { client, update: next.value.update, weight: next.value.weight };
  }
}

/**
 * Another client's update: each number that of the given one times something between ½ and 1½, so that clients share some of
 * it and have some of their own. In a hundredth of the time of a client's work.
 */
function varied(update: Tensors, seed: number): Tensors {
  let state = (seed * 2_654_435_761 + 1) >>> 0;
  return mapTensors(update, ({ shape, data }) => {
    const out = new Float32Array(data.length);
    for (let i = 0; i < out.length; i++) {
      state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
      out[i] = data[i]! * (0.5 + state / 2 ** 32);
    }
    return { shape, data: out };
  });
}

export interface ServerRound {
  /** Updates read and one result written. */
  readonly bytes: number;
  /** Numbers of one update. */
  readonly numbers: number;
  readonly time: Timed;
  /** What the next stage may begin from. */
  readonly shared: State;
}

export interface ServerRoundOptions {
  readonly adapter: Adapter;
  /** Sorted. */
  readonly clients: readonly string[];
  /** How many of the clients' updates differ: the others are the same tensors again. */
  readonly different: number;
  /** Where the stage before this one ended. */
  readonly previous?: State | undefined;
}

/**
 * One round of a stage at the server: updates made first, the first client's by the stage's own client code, then, timed,
 * checked, combined and applied.
 */
export async function serverRound(
  stage: Stage,
  { adapter, clients, different, previous }: ServerRoundOptions,
): Promise<ServerRound> {
  const start = stage.start({ adapter, before: undefined, clients, ...(previous !== undefined && { previous }) });
  const first = await updateOf(stage, start, adapter, clients[0]!, 1);
  const updates = [first];
  while (updates.length < different) updates.push({ ...first, update: varied(first.update, updates.length) });
  let shared = start;
  const time = timed(() => {
    const combiner = combinerOf(stage.combine)!;
    for (const [k, client] of clients.entries()) {
      const given = { ...updates[k % different]!, client };
      const problem = updateProblem(given, stage.broadcast(start, client, 0));
      if (problem !== undefined) throw new Error(problem);
      combiner.add(given);
    }
    shared = stage.apply(start, combiner.finish()!.combined, 0);
  });
  const bytes = byteSize(first.update);
  return { bytes: (clients.length + 1) * bytes, numbers: bytes / 4, time, shared };
}

/**
 * The same module by module, for what treats each by itself: a module's updates are made, combined and let go before the next.
 * Gives the sums over all modules, and where the last one ended.
 */
export async function serverRoundByModules(
  stageAt: (layout: LoraLayout) => Stage,
  { adapter, ...options }: Omit<ServerRoundOptions, 'previous'>,
): Promise<ServerRound & { readonly result: number }> {
  let total = { bytes: 0, numbers: 0, seconds: 0, processor: 0, result: 0 };
  let shared: State = null;
  for (const module of adapter.layout.modules) {
    const layout = { ...adapter.layout, modules: [module] };
    const factors = new Map(
      [keyOfA(module.name), keyOfB(module.name)].map((key) => [key, getTensor(adapter.factors, key)]),
    );
    const round = await serverRound(stageAt(layout), { ...options, adapter: { layout, factors } });
    const { bytes, numbers, time } = round;
    total = {
      bytes: total.bytes + bytes,
      numbers: total.numbers + numbers,
      seconds: total.seconds + time.seconds,
      processor: total.processor + time.processor,
      result: total.result + stateBytes(round.shared),
    };
    shared = round.shared;
    globalThis.gc?.();
  }
  const { bytes, numbers, seconds, processor, result } = total;
  return { bytes, numbers, time: { seconds, processor }, shared, result };
}

/** Of all tensors of a state. */
function stateBytes(state: State): number {
  if (state === null || typeof state !== 'object') return 0;
  if ('data' in state && state.data instanceof Float32Array) return state.data.byteLength;
  const parts: readonly State[] = state instanceof Map ? [...state.values()] : Object.values(state);
  return parts.reduce<number>((sum, part) => sum + stateBytes(part), 0);
}
