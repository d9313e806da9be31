import type { ClientData, TokenRow } from '../../src/data/types.ts';
import { combinerOf, updateProblem } from '../../src/federation/combine.ts';
import { keyOfA, keyOfB, type Adapter, type LoraLayout } from '../../src/lora/adapter.ts';
import type { Method } from '../../src/methods/method.ts';
import type { ClientUpdate, Stage } from '../../src/methods/stage.ts';
import type { Engine } from '../../src/runtime/engine.ts';
import type { State } from '../../src/tensor/state.ts';
import type { Tensors } from '../../src/tensor/tensor.ts';
import { byteSize, mapTensors } from '../../src/tensor/tensors.ts';
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

/** One round of a stage at the server: updates made first, then, timed, checked, combined and applied. */
export async function serverRound(
  stage: Stage,
  { adapter, clients, different, previous }: ServerRoundOptions,
): Promise<ServerRound> {
  const start = stage.start({ adapter, before: undefined, clients, ...(previous !== undefined && { previous }) });
  const updates: ClientUpdate[] = [];
  for (const [k, client] of clients.slice(0, different).entries())
    updates.push(await updateOf(stage, start, adapter, client, k + 1));
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
  const bytes = byteSize(updates[0]!.update);
  return { bytes: (clients.length + 1) * bytes, numbers: bytes / 4, time, shared };
}
