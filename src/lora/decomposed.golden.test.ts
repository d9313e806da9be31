import { describe, expect, it } from 'vitest';
import {
  a,
  adapterOf,
  alongVectors,
  b,
  type Case,
  gradientAt,
  lossOf,
  moveBy,
  near,
  type Rows,
  rowsOf,
  train,
} from '../../tests/decomposed.ts';
import { golden } from '../../tests/shared.ts';
import { normalisePullback } from '../../tests/support/normalise-pullback.ts';
import { matrix } from '../../tests/toy-adapter.ts';
import { adam, adamw } from '../optim/adamw.ts';
import { addPenalty } from '../optim/penalty.ts';
import { AXES, normAxis, type NormAxis } from './axis.ts';
import { decompose, recompose } from './decompose.ts';
import { directionOfA, directionOfB } from './direction.ts';
import { magnitudeOfA, magnitudeOfB } from './magnitude.ts';
import { normalise } from './normalise.ts';

const { cases } = golden<{ cases: Case[] }>('decomposed.json');

describe.each(cases)('decomposed.json, case $name', (given) => {
  const adapter = adapterOf(given, matrix(given.A), matrix(given.B));

  it('has the golden loss and gradients before any split', () => {
    const { loss, gradients } = lossOf(given, adapter.factors);
    expect(loss).toBeCloseTo(given.loss, 12);
    near(gradients.get(a), given.grad_A);
    near(gradients.get(b), given.grad_B);
  });

  describe.each(AXES)('axis %s', (axis) => {
    const mode = given.modes[axis];
    const ways = [
      ['grad_delta_A_M', a, magnitudeOfA({ axis })],
      ['grad_delta_A_D', a, directionOfA({ axis })],
      ['grad_delta_B_M', b, magnitudeOfB({ axis })],
      ['grad_delta_B_D', b, directionOfB({ axis })],
    ] as const;
    const detached = [
      ['grad_delta_A_D', a, directionOfA({ axis, renormalise: 'detach' })],
      ['grad_delta_B_D', b, directionOfB({ axis, renormalise: 'detach' })],
    ] as const;

    it('takes the norms over the golden axes', () => {
      expect([normAxis('A', axis), normAxis('B', axis)]).toEqual([mode.axis_A, mode.axis_B]);
    });

    it('decomposes', () => {
      const parts = [decompose(matrix(given.A), mode.axis_A), decompose(matrix(given.B), mode.axis_B)] as const;
      near(parts[0].magnitude, mode.A_M);
      near(parts[0].direction, mode.A_D);
      near(parts[1].magnitude, mode.B_M);
      near(parts[1].direction, mode.B_D);
    });

    it('has the gradients at zero deltas, full and with the norm detached', () => {
      for (const [field, key, how] of ways) near(gradientAt(given, how, key, adapter), mode.at_zero_delta[field]);
      for (const [field, key, how] of detached) {
        near(gradientAt(given, how, key, adapter), mode.at_zero_delta_detached_norm[field]);
      }
    });

    it('has A, loss and gradients at a delta of A_D, full and detached', () => {
      const how = directionOfA({ axis });
      const A = how
        .at(adapter)
        .toFactors(new Map([[a, matrix(given.delta_A_D)]]))
        .get(a)!;
      near(A, mode.at_delta_A_D.A);
      const moved = adapterOf(given, A, matrix(given.B));
      expect(lossOf(given, moved.factors).loss).toBeCloseTo(mode.at_delta_A_D.loss, 5);
      near(gradientAt(given, how, a, adapter, given.delta_A_D), mode.at_delta_A_D.grad_delta_A_D);
      near(gradientAt(given, magnitudeOfB({ axis }), b, moved), mode.at_delta_A_D.grad_delta_B_M);
      near(gradientAt(given, directionOfB({ axis }), b, moved), mode.at_delta_A_D.grad_delta_B_D);
      // A vector of magnitude 0 gets a direction from its delta, and so a gradient of its magnitude: the split keeps both.
      const d = moveBy(decompose(matrix(given.A), mode.axis_A).direction, given.delta_A_D);
      const along = lossOf(given, moved.factors).gradients.get(a)!;
      near(alongVectors(along, normalise(d, mode.axis_A), mode.axis_A, mode.A_M), mode.at_delta_A_D.grad_delta_A_M);
      const loose = directionOfA({ axis, renormalise: 'detach' });
      near(gradientAt(given, loose, a, adapter, given.delta_A_D), mode.at_delta_A_D_detached_norm.grad_delta_A_D);
      const looseB = directionOfB({ axis, renormalise: 'detach' });
      near(gradientAt(given, looseB, b, moved), mode.at_delta_A_D_detached_norm.grad_delta_B_D);
    });

    it('has factors, loss and gradients with all four deltas at once', () => {
      const all = mode.at_all_deltas;
      const side = (X: Rows, over: NormAxis, deltaM: Rows, deltaD: Rows) => {
        const { magnitude, direction } = decompose(matrix(X), over);
        const [m, d] = [moveBy(magnitude, deltaM), moveBy(direction, deltaD)];
        const n = normalise(d, over);
        return { m, d, n, factor: recompose({ magnitude: m, direction: n }) };
      };
      const A = side(given.A, mode.axis_A, all.delta_A_M, all.delta_A_D);
      const B = side(given.B, mode.axis_B, all.delta_B_M, all.delta_B_D);
      near(A.factor, all.A);
      near(B.factor, all.B);
      const { loss, gradients } = lossOf(given, adapterOf(given, A.factor, B.factor).factors);
      expect(loss).toBeCloseTo(all.loss, 5);
      for (const [x, key, over, fieldM, fieldD] of [
        [A, a, mode.axis_A, 'grad_delta_A_M', 'grad_delta_A_D'],
        [B, b, mode.axis_B, 'grad_delta_B_M', 'grad_delta_B_D'],
      ] as const) {
        const gradient = gradients.get(key)!;
        near(alongVectors(gradient, x.n, over, rowsOf(x.m)), all[fieldM], 1e-5);
        const scaled = recompose({ magnitude: x.m, direction: gradient });
        near(normalisePullback(x.d, scaled, over, 'full'), all[fieldD], 1e-5);
      }
    });

    it('has the penalty and its gradient at a delta of B_M', () => {
      const at = mode.at_delta_B_M_with_penalty;
      const point = magnitudeOfB({ axis }).at(adapter);
      const params = new Map([[b, matrix(at.delta_B_M)]]);
      const { loss, gradients } = lossOf(given, point.toFactors(params));
      expect(loss).toBeCloseTo(at.loss_without_penalty, 5);
      near(addPenalty(at.lambda)(point.pullback(gradients, params), params).get(b), at.grad_delta_B_M);
    });

    it('follows stage 1 and then stage 2 through their optimizers, step by step', () => {
      const one = mode.stage1_adam;
      const stage1 = train(given, directionOfA({ axis }), adapter, adam({ rate: one.lr }));
      for (const [step, delta] of one.delta_A_D_after_each_step.entries()) {
        expect(stage1.loss).toBeCloseTo(one.losses[step]!, 4);
        near(stage1.next().get(a), delta, 1e-4);
      }
      expect(stage1.loss).toBeCloseTo(one.losses.at(-1)!, 4);
      near(stage1.factors.get(a), one.A, 1e-4);
      near(stage1.factors.get(b), one.B, 1e-12);
      expect(stage1.factors.get(b)).toBe(adapter.factors.get(b));

      for (const [decay, two] of [
        [0, mode.stage2_adamw.weight_decay_0],
        [0.1, mode.stage2_adamw.weight_decay_0_1],
      ] as const) {
        const start = { layout: adapter.layout, factors: stage1.factors };
        const optimizer = adamw({ rate: two.lr, weightDecay: decay });
        const stage2 = train(given, magnitudeOfB({ axis }), start, optimizer, addPenalty(two.lambda));
        for (const [step, delta] of two.delta_B_M_after_each_step.entries()) {
          expect(stage2.loss).toBeCloseTo(two.losses_without_penalty[step]!, 4);
          near(stage2.next().get(b), delta, 1e-4);
        }
        expect(stage2.loss).toBeCloseTo(two.losses_without_penalty.at(-1)!, 4);
        near(stage2.factors.get(a), two.A, 1e-4);
        near(stage2.factors.get(b), two.B, 1e-4);
        expect(stage2.factors.get(a)).toBe(start.factors.get(a));
      }
    });
  });
});
