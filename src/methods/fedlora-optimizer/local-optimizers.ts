import type { LoraLayout } from '../../lora/adapter.ts';
import type { Parametrisation } from '../../lora/parametrisation.ts';
import { addPenalty, proximalStep } from '../../optim/penalty.ts';
import { scheduleOf, type TrainSettings } from '../../train/settings.ts';
import { localTraining } from '../local-training.ts';
import type { PrivateState } from '../private-state.ts';
import type { Stage } from '../stage.ts';
import type { Tensors } from '../../tensor/tensor.ts';

export interface LocalOptimizers {
  readonly layout: LoraLayout;
  /** What ΔB_M means: `magnitudeOfB`, or an ablation. */
  readonly parametrisation: Parametrisation;
  readonly train: TrainSettings;
  readonly lambda: number;
  readonly penalty: 'coupled' | 'proximal';
}

/**
 * Stage 2, the local optimizers: at every client, min over ΔB_M of L_k + λ·Σ_modules‖ΔB_M‖²_F, all else frozen, weight decay 0.
 * ΔB_M never leaves its client.
 */
export function localOptimizers({
  layout,
  parametrisation,
  train,
  lambda,
  penalty,
}: LocalOptimizers): Stage<Tensors, PrivateState> {
  return localTraining({
    name: 'local',
    layout,
    parametrisation,
    train: { ...train, weightDecay: 0 },
    extra: (kit) => {
      if (lambda === 0) return {};
      if (penalty === 'coupled') return { correct: addPenalty(lambda) };
      const rate = scheduleOf(train, kit);
      return { afterStep: (delta, step) => proximalStep(delta, rate(step), lambda) };
    },
  });
}
