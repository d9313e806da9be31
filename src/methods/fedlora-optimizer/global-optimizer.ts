import type { Adapter, AdapterMix, LoraLayout } from '../../lora/adapter.ts';
import type { Parametrisation } from '../../lora/parametrisation.ts';
import type { Optimizer } from '../../optim/optimizer.ts';
import type { State } from '../../tensor/state.ts';
import type { Tensors } from '../../tensor/tensor.ts';
import { add } from '../../tensor/tensors.ts';
import { meanUpdate } from '../average-factors.ts';
import { privateState, type PrivateState } from '../private-state.ts';
import type { Stage } from '../stage.ts';

/** Stage 1: the frozen starting point, what was learnt (ΔA_D), and the one optimizer's state. All at the server. */
export type GlobalState = { readonly factors: Tensors; readonly delta: Tensors; readonly optimizer: State };

/** What stage 1 is made of, whoever takes its steps. */
export interface GlobalStage {
  readonly rounds: number;
  readonly layout: LoraLayout;
  /** What ΔA_D means: `directionOfA`, or an ablation. */
  readonly parametrisation: Parametrisation;
  /** A client's personal model around the global one, once it has one. */
  personal(factors: Tensors, mine: PrivateState): AdapterMix;
}

export interface GlobalOptimizer extends GlobalStage {
  readonly optimizer: Optimizer;
  /** Whose rows the gradients come from. */
  readonly participants: 'sampled' | 'proxy';
  readonly rows: number | 'all';
  readonly batchSize: number;
}

/**
 * The global optimizer: min over ΔA_D of Σ_k p_k·L_k. Clients send the gradient of their token-mean loss with respect to ΔA_D,
 * through n(·); the server takes one step on Σ_k p_k·g_k, p_k from the clients' labelled training tokens. A_M and B stay.
 */
export function globalOptimizer(options: GlobalOptimizer): Stage<GlobalState, PrivateState> {
  const { layout, parametrisation, optimizer } = options;
  return {
    name: 'global',
    rounds: options.rounds,
    participants: options.participants,
    combine: 'sum',
    start: ({ adapter, before }) => startAt(adapter, parametrisation, optimizer, before as GlobalState | undefined),
    frozen: ({ factors }) => factors,
    broadcast: ({ delta }) => asDelta(delta),
    async *work(received, mine, kit) {
      const { factors, delta } = fromDelta(received);
      const { gradients, tokens } = yield* kit.gradient({
        from: { layout, factors },
        parametrisation,
        params: delta,
        rows: options.rows,
        batchSize: options.batchSize,
      });
      return { update: asDelta(gradients), weight: tokens > 0 ? kit.labelledTokens : 0, mine: privateState(mine) };
    },
    apply: ({ factors, delta, optimizer: state }, combined) => {
      const [step, next] = optimizer.update(fromDelta(meanUpdate(combined)).delta, state, delta);
      return { factors, delta: add(delta, step), optimizer: next };
    },
    models: (shared, mine) => options.personal(learntFactors(layout, parametrisation, shared), privateState(mine)),
  };
}

/** A stage begins at ΔA_D = 0 around the adapter it is given; interleaved stages go on with the same optimizer. */
function startAt(
  adapter: Adapter,
  parametrisation: Parametrisation,
  optimizer: Optimizer,
  before: GlobalState | undefined,
): GlobalState {
  const delta = parametrisation.at(adapter).init;
  return { factors: adapter.factors, delta, optimizer: before?.optimizer ?? optimizer.init(delta) };
}

/** A = A_M·n(A_D + ΔA_D), and B as it was. */
export function learntFactors(
  layout: LoraLayout,
  parametrisation: Parametrisation,
  { factors, delta }: Pick<GlobalState, 'factors' | 'delta'>,
): Tensors {
  return parametrisation.at({ layout, factors }).toFactors(delta);
}

const prefix = 'delta:';

/** Deltas travel beside the factors they belong to, under names of their own. */
export const asDelta = (delta: Tensors): Tensors => new Map([...delta].map(([key, tensor]) => [prefix + key, tensor]));

export function fromDelta(received: Tensors): { factors: Tensors; delta: Tensors } {
  const entries = [...received];
  return {
    factors: new Map(entries.filter(([key]) => !key.startsWith(prefix))),
    delta: new Map(
      entries.filter(([key]) => key.startsWith(prefix)).map(([key, tensor]) => [key.slice(prefix.length), tensor]),
    ),
  };
}
