import type { Tensor, Tensors } from '../tensor/tensor.ts';
import { getTensor, requireSameShapes, zerosLike } from '../tensor/tensors.ts';
import type { Optimizer, Schedule } from './optimizer.ts';
import { rateAt } from './schedules.ts';

export interface AdamOptions {
  /** Learning rate, fixed or by step. */
  readonly rate: number | Schedule;
  /** Default 0.9. */
  readonly beta1?: number;
  /** Default 0.999. */
  readonly beta2?: number;
  /** Default 1e-8, outside the square root and after the bias correction, as in PyTorch. */
  readonly eps?: number;
}

export interface AdamWOptions extends AdamOptions {
  /** Decoupled: params ← params − rate·weightDecay·params. Default 0.01, PyTorch's. */
  readonly weightDecay?: number;
}

/** Steps taken so far; running means of the gradients and of their squares. */
export type AdamState = { readonly step: number; readonly first: Tensors; readonly second: Tensors };

/** Adam (arXiv 1412.6980) as torch.optim.Adam computes it, without weight decay. */
export const adam = (options: AdamOptions): Optimizer<AdamState> => adamw({ ...options, weightDecay: 0 });

/**
 * AdamW (arXiv 1711.05101) as torch.optim.AdamW computes it: with m and v corrected for their bias,
 * params ← params − rate·(m̂/(√v̂ + eps) + weightDecay·params). Float64 inside, float32 state.
 */
export function adamw({
  rate,
  beta1 = 0.9,
  beta2 = 0.999,
  eps = 1e-8,
  weightDecay = 0.01,
}: AdamWOptions): Optimizer<AdamState> {
  return {
    init: (params) => ({ step: 0, first: zerosLike(params), second: zerosLike(params) }),
    update(gradients, { step, first, second }, params, scheduled = step) {
      requireSameShapes(gradients, params, 'the gradients and the params');
      requireSameShapes(first, params, 'the optimizer state and the params');
      const now = rateAt(rate, scheduled);
      const t = step + 1;
      const size = now / (1 - beta1 ** t);
      const root = Math.sqrt(1 - beta2 ** t);
      const decay = now * weightDecay;
      const updates = new Map<string, Tensor>();
      const [nextFirst, nextSecond] = [new Map<string, Tensor>(), new Map<string, Tensor>()];
      for (const [name, { shape, data: p }] of params) {
        const g = getTensor(gradients, name).data;
        const m = getTensor(first, name).data;
        const v = getTensor(second, name).data;
        const u = new Float32Array(p.length);
        const [m1, v1] = [new Float32Array(p.length), new Float32Array(p.length)];
        for (let i = 0; i < u.length; i++) {
          const gi = g[i]!;
          const mi = beta1 * m[i]! + (1 - beta1) * gi;
          const vi = beta2 * v[i]! + (1 - beta2) * gi * gi;
          m1[i] = mi;
          v1[i] = vi;
          u[i] = -(size * mi) / (Math.sqrt(vi) / root + eps) - decay * p[i]!;
        }
        updates.set(name, { shape, data: u });
        nextFirst.set(name, { shape, data: m1 });
        nextSecond.set(name, { shape, data: v1 });
      }
      return [updates, { step: t, first: nextFirst, second: nextSecond }];
    },
  };
}
