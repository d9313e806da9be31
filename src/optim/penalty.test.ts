import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Tensors } from '../tensor/tensor.ts';
import { add, tensor } from '../tensor/tensors.ts';
import { adamw } from './adamw.ts';
import type { Optimizer } from './optimizer.ts';
import { addPenalty, proximalStep } from './penalty.ts';
import { sgd } from './sgd.ts';

const of = (...values: number[]): Tensors => new Map([['x', tensor([values.length], values)]]);
const x = (tensors: Tensors): number => tensors.get('x')!.data[0]!;

/** Where `steps` of an optimizer end on gΔ + hΔ²/2, from 0. */
function descend(
  optimizer: Optimizer,
  [g, h]: readonly [number, number],
  steps: number,
  { correct = addPenalty(0), afterStep = (params: Tensors) => params } = {},
): number {
  let params = of(0);
  let state = optimizer.init(params);
  for (let step = 0; step < steps; step++) {
    const [updates, next] = optimizer.update(correct(of(g + h * x(params)), params), state, params);
    [params, state] = [afterStep(add(params, updates)), next];
  }
  return x(params);
}

const quadratic = fc.tuple(fc.double({ noNaN: true, min: -5, max: 5 }), fc.double({ noNaN: true, min: 0.5, max: 4 }));
const lambda = fc.double({ noNaN: true, min: 0, max: 3 });

describe('the penalised minimiser of gΔ + hΔ²/2 + λΔ² is −g/(h + 2λ) (METHOD, invariant 6)', () => {
  it('coupled: the penalty’s gradient in the loss', () => {
    fc.assert(
      fc.property(quadratic, lambda, ([g, h], lambda) => {
        const reached = descend(sgd({ rate: 0.1 }), [g, h], 600, { correct: addPenalty(lambda) });
        expect(reached).toBeCloseTo(-g / (h + 2 * lambda), 4);
      }),
      { numRuns: 30 },
    );
  });

  it('proximal: the operator after each step of gradient descent', () => {
    fc.assert(
      fc.property(quadratic, lambda, ([g, h], lambda) => {
        const afterStep = (params: Tensors): Tensors => proximalStep(params, 0.1, lambda);
        expect(descend(sgd({ rate: 0.1 }), [g, h], 600, { afterStep })).toBeCloseTo(-g / (h + 2 * lambda), 4);
      }),
      { numRuns: 30 },
    );
  });

  it('coupled, through AdamW with a rate that falls: the same place, for normalising does not move a stationary point', () => {
    const optimizer = adamw({ rate: (step) => 0.1 * 0.995 ** step, weightDecay: 0 });
    const reached = descend(optimizer, [2, 1], 2500, { correct: addPenalty(0.5) });
    expect(reached).toBeCloseTo(-1, 3);
    expect(descend(optimizer, [2, 1], 2500)).toBeCloseTo(-2, 3);
  });

  it('shrinks: larger λ, shorter Δ', () => {
    const [free, some, much] = [0, 0.5, 5].map((lambda) =>
      Math.abs(descend(sgd({ rate: 0.05 }), [1, 1], 500, { correct: addPenalty(lambda) })),
    );
    expect(free!).toBeGreaterThan(some!);
    expect(some!).toBeGreaterThan(much!);
  });
});

describe('penalties', () => {
  it('add 2λΔ; λ = 0 changes nothing at all', () => {
    expect([...addPenalty(0.25)(of(1, 1), of(4, -2)).get('x')!.data]).toEqual([3, 0]);
    const gradients = of(1);
    expect(addPenalty(0)(gradients, of(5))).toBe(gradients);
    expect(proximalStep(gradients, 0.1, 0)).toBe(gradients);
    expect(x(proximalStep(of(3), 0.5, 2))).toBe(1);
    expect(x(proximalStep(of(3), 0, 2))).toBe(3);
  });

  it('refuse weights and rates that cannot be', () => {
    expect(() => addPenalty(-1)).toThrow('a weight of at least 0, not -1');
    expect(() => proximalStep(of(1), 0.1, Number.NaN)).toThrow('not NaN');
    expect(() => proximalStep(of(1), -0.1, 1)).toThrow('a rate of at least 0, not -0.1');
  });
});
