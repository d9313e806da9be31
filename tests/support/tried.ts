import { keyOfA, keyOfB, type Adapter } from '../../src/lora/adapter.ts';
import type { Method } from '../../src/methods/method.ts';
import type { Stage } from '../../src/methods/stage.ts';
import type { State } from '../../src/tensor/state.ts';
import type { Tensor, Tensors } from '../../src/tensor/tensor.ts';
import { getTensor, tensor, zeros } from '../../src/tensor/tensors.ts';
import type { ClientKit } from '../../src/train/kit.ts';
import { randomFactors, toyLayout } from '../toy-adapter.ts';
import { deltaOf } from './delta.ts';
import { begin, contextOf, exactKit, oneRound } from './rounds.ts';

/** One module, and three clients, each with a loss of its own. */
export const layout = toyLayout();
export const names = ['c0', 'c1', 'c2'];
const moved = { layout, factors: randomFactors(layout, 1) };
// Fed-SB makes factors of its own and begins at the base model only.
const startOf = ({ name }: Method): Adapter =>
  name === 'fed-sb' ? { layout, factors: new Map([...moved.factors, [keyOfB('m0'), zeros([6, 2])]]) } : moved;
/** Options without which a method cannot be. */
export const needed: Record<string, object> = { fedper: { local: ['lora_B'] } };

export interface Tried {
  readonly stage: Stage;
  readonly shared: State;
  readonly mine: ReadonlyMap<string, State>;
  /** What clients trained: A, B. */
  readonly moves: ReadonlySet<string>;
  readonly uploads: readonly Tensors[];
  readonly received: Tensors;
  /** ΔW of each client where its training ended. */
  readonly ends: readonly Tensor[];
}

/** Clients whose losses pull each number of what is fed towards a number of the client's own. */
export function client(
  k: number,
  examples: number,
  round: number,
  seen: { moves: Set<string>; ends: Tensor[] },
  listen: (fed: Tensors) => void = () => undefined,
): ClientKit {
  const gradientAt = (fed: Tensors): Tensors => {
    listen(fed);
    return new Map(
      [...fed].map(([key, { shape, data }]) => [
        key,
        tensor(
          shape,
          data.map((x, i) => x - Math.sin(7 * k + i)),
        ),
      ]),
    );
  };
  const kit = exactKit(gradientAt, { client: names[k]!, examples, round });
  return {
    ...kit,
    async *train(request) {
      const { parametrisation, from } = request;
      for (const letter of parametrisation.moves) seen.moves.add(letter);
      const result = yield* kit.train({ ...request, length: { steps: 40 } });
      const fed = parametrisation.at(from).toFactors(result.params);
      const rank = getTensor(fed, keyOfA('m0')).shape[0]!;
      seen.ends[k] = deltaOf({ layout: toyLayout({ rank, alpha: 2 * rank }), factors: fed }, 'm0');
      return result;
    },
    gradient(request) {
      for (const letter of request.parametrisation.moves) seen.moves.add(letter);
      return kit.gradient(request);
    },
  };
}

/** Every stage in turn, `rounds` rounds of each; the last round's uploads and ends. */
export async function tried(
  method: Method,
  {
    options = {},
    rounds = 1,
    examples = [1, 2, 3],
  }: { options?: object; rounds?: number; examples?: readonly number[] } = {},
): Promise<Tried[]> {
  const stages = method.stages(
    { ...needed[method.name], ...options },
    contextOf(layout, { rounds, train: { ...contextOf(layout).train, rate: 2e-2 } }),
  );
  const out: Tried[] = [];
  let adapter = startOf(method);
  let ended: State | undefined;
  for (const stage of stages) {
    const clients = stage.participants === 'pooled' ? [0] : [0, 1, 2];
    const seen = { moves: new Set<string>(), ends: [] as Tensor[] };
    let shared: State = begin(stage, adapter, names, ended);
    let mine = new Map<string, State>(out.at(-1)?.mine ?? []);
    const received = stage.broadcast(shared, 'c0', 0);
    const uploads: Tensors[] = [];
    for (let round = 0; round < Math.min(rounds, stage.rounds); round++) {
      const members = clients.map((k) => ({
        kit: client(k, examples[k]!, round, seen),
        ...(mine.has(names[k]!) && { mine: mine.get(names[k]!)! }),
      }));
      const result = await oneRound(stage, shared, members, round);
      shared = result.shared;
      mine = new Map([...mine, ...result.mine]);
      uploads.push(...result.updates.values());
    }
    out.push({ stage, shared, mine, moves: seen.moves, uploads, received, ends: seen.ends });
    adapter = stage.models(shared)[0]!.adapter;
    ended = shared;
  }
  return out;
}

/** The stage that averages what clients trained: the first, but for a stage that prepares it. */
export async function averagingStage(method: Method, more: Parameters<typeof tried>[1] = {}): Promise<Tried> {
  const stages = await tried(method, more);
  return stages.find(({ stage }) => stage.name === 'federated') ?? stages[0]!;
}
