import type { Adapter, LoraLayout } from '../../lora/adapter.ts';
import { type Axis, decomposeAdapter, normaliseDirections, recomposeAdapter } from '../../lora/decompose.ts';
import { factors as bothFactors } from '../../lora/factors.ts';
import { identified } from '../../lora/identity.ts';
import type { Tensors } from '../../tensor/tensor.ts';
import { add, subtract } from '../../tensor/tensors.ts';
import { weightedMean } from '../../tensor/weighted.ts';
import { meanUpdate, trainFactors, type AveragedTraining } from '../average-factors.ts';
import { ofModule } from '../combine-factors.ts';
import { privateState, type PrivateState } from '../private-state.ts';
import type { Combined, Stage } from '../stage.ts';

export interface ComponentAveraging extends Omit<AveragedTraining, 'name' | 'parametrisation'> {
  readonly axis: Axis;
  /** `factors`: clients send A and B, the server decomposes; `components`: they send M and D, so that sums are enough. */
  readonly upload: 'factors' | 'components';
}

/**
 * Stage 0 with `average: components`: clients train A and B; per module M̄ = Σ p_k·M_k and D̄ = n(Σ p_k·D_k), and the new
 * global factors are M̄·D̄. A direction that cancels keeps the one before.
 */
export function averageComponents(options: ComponentAveraging): Stage<Tensors, PrivateState> {
  const { layout, axis, upload } = options;
  const task = { ...options, name: 'federated', parametrisation: bothFactors() };
  const components = (factors: Tensors): Tensors => decomposeAdapter({ layout, factors }, axis);
  const stage: Stage<Tensors, PrivateState> = {
    name: 'federated',
    rounds: options.rounds,
    participants: 'sampled',
    combine: upload === 'factors' ? 'each' : 'sum',
    start: ({ adapter }) => adapter.factors,
    broadcast: (factors) => factors,
    async *work(received, mine, kit) {
      const trained = yield* trainFactors(task, received, privateState(mine), kit);
      if (upload === 'factors') return trained;
      const moved = components(add(received, trained.update));
      return { ...trained, update: subtract(moved, components(received)) };
    },
    apply: (factors, combined) => {
      const before = components(factors);
      const mean =
        upload === 'factors' ? meanComponents(layout, axis, factors, combined) : add(before, meanUpdate(combined));
      return recomposeAdapter(layout, normaliseDirections(layout, mean, axis, before)).factors;
    },
    models: (factors) => [{ adapter: { layout, factors } satisfies Adapter, weight: 1 }],
  };
  const { train, weights, optimizerState } = options;
  return identified(stage, 'averageComponents', [], { layout, axis, upload, train, weights, optimizerState });
}

/** Σ p_k·M_k and Σ p_k·D_k over the clients, from the updates of their factors; module by module, to hold one of each client's. */
function meanComponents(layout: LoraLayout, axis: Axis, factors: Tensors, combined: Combined): Tensors {
  if (combined.kind !== 'each') throw new Error('averaging components of factors needs each client’s update');
  const { updates } = combined;
  return new Map(
    layout.modules.flatMap((module) => {
      const before = ofModule(factors, module.name);
      const own = { ...layout, modules: [module] };
      const parts = updates.map(({ update, weight }) => {
        const moved = add(before, ofModule(update, module.name));
        return { tensors: decomposeAdapter({ layout: own, factors: moved }, axis), weight };
      });
      return [...weightedMean(parts)];
    }),
  );
}
