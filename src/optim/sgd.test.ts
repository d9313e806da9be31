import { describe, expect, it } from 'vitest';
import type { Tensors } from '../tensor/tensor.ts';
import { add, tensor } from '../tensor/tensors.ts';
import { chain } from './chain.ts';
import { clipByGlobalNorm } from './clip.ts';
import { addPenalty } from './penalty.ts';
import { sgd } from './sgd.ts';
import { constant } from './schedules.ts';

const of = (...values: number[]): Tensors => new Map([['x', tensor([values.length], values)]]);
const x = (tensors: Tensors): number[] => [...tensors.get('x')!.data];

describe('sgd', () => {
  it('subtracts rate times gradient, without a state but its count', () => {
    const optimizer = sgd({ rate: 0.5 });
    const [updates, state] = optimizer.update(of(2, -4), optimizer.init(of(0, 0)), of(0, 0));
    expect(x(updates)).toEqual([-1, 2]);
    expect(state).toEqual({ step: 1, velocity: null });
  });

  it('with momentum m moves by rate·g·(1 − mᵗ)/(1 − m) at step t of a constant gradient, as PyTorch does', () => {
    const optimizer = sgd({ rate: 0.1, momentum: 0.9 });
    let state = optimizer.init(of(0));
    for (let t = 1; t <= 40; t++) {
      const [updates, next] = optimizer.update(of(2), state, of(0));
      state = next;
      expect(x(updates)[0]).toBeCloseTo((-0.1 * 2 * (1 - 0.9 ** t)) / (1 - 0.9), 5);
    }
  });

  it('reaches the minimum of a quadratic along the heavy ball’s closed form', () => {
    // x ← x − v, v ← m·v + rate·h·x has the matrix [[1 − rate·h, −m], [rate·h, m]].
    const [rate, h, m] = [0.1, 3, 0.8];
    const optimizer = sgd({ rate, momentum: m });
    let [params, state] = [of(1), optimizer.init(of(1))];
    let [position, velocity] = [1, 0];
    for (let t = 0; t < 60; t++) {
      velocity = m * velocity + rate * h * position;
      position -= velocity;
      const [updates, next] = optimizer.update(of(h * x(params)[0]!), state, params);
      [params, state] = [add(params, updates), next];
      expect(x(params)[0]).toBeCloseTo(position, 5);
    }
    expect(Math.abs(position)).toBeLessThan(0.01);
  });

  it('follows a schedule', () => {
    const optimizer = sgd({ rate: constant(1, 2) });
    let state = optimizer.init(of(0));
    const seen = Array.from({ length: 4 }, () => {
      const [updates, next] = optimizer.update(of(-8), state, of(0));
      state = next;
      return x(updates)[0];
    });
    expect(seen).toEqual([0, 4, 8, 8]);
  });

  it('refuses gradients of other params', () => {
    const optimizer = sgd({ rate: 1 });
    expect(() => optimizer.update(of(1), optimizer.init(of(1, 2)), of(1, 2))).toThrow('the gradients and the params');
  });
});

describe('clipByGlobalNorm', () => {
  const two: Tensors = new Map([...of(3, 0), ['y', tensor([1], [4])]]);

  it('scales all tensors together to the norm, and leaves what is within it the same tensors', () => {
    const clip = clipByGlobalNorm(1);
    const [clipped] = clip.update(two, null, two);
    expect([...clipped.values()].map(({ data }) => [...data])).toEqual([[Math.fround(0.6), 0], [Math.fround(0.8)]]);
    expect(clipByGlobalNorm(5).update(two, null, two)[0]).toBe(two);
    expect(clip.update(of(0, 0), null, of(0, 0))[0]).toEqual(of(0, 0));
    expect(() => clipByGlobalNorm(0)).toThrow('a norm above 0, not 0');
  });
});

describe('chain', () => {
  it('hands the updates of each on to the next, and keeps their states apart', () => {
    const optimizer = chain(clipByGlobalNorm(1), sgd({ rate: 0.1, momentum: 0.5 }));
    const start = of(0, 0);
    const [first, state] = optimizer.update(of(30, 40), optimizer.init(start), start);
    expect(x(first)).toEqual([-0.06, -0.08].map((v) => expect.closeTo(v, 7) as number));
    const [second, after] = optimizer.update(of(0.1, 0), state, start);
    expect(x(second)).toEqual([-0.04, -0.04].map((v) => expect.closeTo(v, 7) as number));
    expect((after[1] as { step: number }).step).toBe(2);
    expect(() => optimizer.update(start, [null], start)).toThrow('a chain of 1 optimizers, not of 2');
  });

  it('of none changes nothing', () => {
    expect(chain().update(of(1), [], of(1))[0]).toEqual(of(1));
  });

  it('does not see a penalty that is added before it twice', () => {
    const params = of(10);
    const [updates] = chain(sgd({ rate: 1 })).update(
      addPenalty(0.5)(of(1), params),
      [{ step: 0, velocity: null }],
      params,
    );
    expect(x(updates)).toEqual([-11]);
  });
});
