import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decodeState } from '../../tests/support/decode-state.ts';
import { encodeState } from '../tensor/encode.ts';
import type { Tensors } from '../tensor/tensor.ts';
import { add, sameBits, tensor } from '../tensor/tensors.ts';
import { adam, adamw, type AdamWOptions } from './adamw.ts';
import type { Optimizer } from './optimizer.ts';

const of = (...values: number[]): Tensors => new Map([['x', tensor([values.length], values)]]);
const x = (tensors: Tensors): number[] => [...tensors.get('x')!.data];

/** The params after each step on the given gradients. */
function steps(optimizer: Optimizer, params: Tensors, gradients: readonly Tensors[]): Tensors[] {
  let state = optimizer.init(params);
  return gradients.map((gradient) => {
    const [updates, next] = optimizer.update(gradient, state, params);
    state = next;
    params = add(params, updates);
    return params;
  });
}

/** torch.optim.AdamW's single-tensor loop, in its order and in float64: decay, two running means, corrected step. */
function torchAdamW(
  start: number,
  gradients: number[],
  { rate, beta1, beta2, eps, weightDecay }: Required<AdamWOptions>,
): number[] {
  let [p, m, v] = [start, 0, 0];
  return gradients.map((g, i) => {
    const lr = rate as number;
    p *= 1 - lr * weightDecay;
    m += (g - m) * (1 - beta1);
    v = v * beta2 + (1 - beta2) * g * g;
    const [c1, c2] = [1 - beta1 ** (i + 1), 1 - beta2 ** (i + 1)];
    p -= ((lr / c1) * m) / (Math.sqrt(v) / Math.sqrt(c2) + eps);
    return p;
  });
}

describe('adamw', () => {
  it('moves by the rate at each step of a constant gradient, whatever its size: both corrected means are it', () => {
    const gradients = Array.from({ length: 50 }, () => of(3, -0.001, 1e6));
    for (const [t, params] of steps(adam({ rate: 0.01 }), of(0, 0, 0), gradients).entries()) {
      const way = 0.01 * (t + 1);
      expect(x(params)[0]).toBeCloseTo(-way, 6);
      expect(x(params)[1]).toBeCloseTo(way / (1 + 1e-5), 6);
      expect(x(params)[2]).toBeCloseTo(-way, 6);
    }
  });

  it('stays where gradients are 0, but for the decay: params·(1 − rate·weightDecay) a step', () => {
    const gradients = Array.from({ length: 10 }, () => of(0, 0));
    expect(x(steps(adam({ rate: 0.1 }), of(2, -5), gradients).at(-1)!)).toEqual([2, -5]);
    const decayed = x(steps(adamw({ rate: 0.1, weightDecay: 0.5 }), of(2, -5), gradients).at(-1)!);
    expect(decayed[0]).toBeCloseTo(2 * 0.95 ** 10, 6);
    expect(decayed[1]).toBeCloseTo(-5 * 0.95 ** 10, 6);
  });

  it('is torch.optim.AdamW, in float64, for any gradients and settings', () => {
    const number = fc.double({ noNaN: true, min: -10, max: 10 }).map(Math.fround);
    const settings = fc.record({
      rate: fc.double({ noNaN: true, min: 1e-4, max: 0.5 }),
      beta1: fc.double({ noNaN: true, min: 0, max: 0.99 }),
      beta2: fc.double({ noNaN: true, min: 0.5, max: 0.9999 }),
      eps: fc.constantFrom(1e-8, 1e-6, 1e-3),
      weightDecay: fc.double({ noNaN: true, min: 0, max: 1 }),
    });
    const gradient = number.filter((g) => g === 0 || Math.abs(g) > 1e-3);
    fc.assert(
      fc.property(
        number,
        fc.array(gradient, { minLength: 1, maxLength: 12 }),
        settings,
        (start, gradients, options) => {
          const expected = torchAdamW(start, gradients, options);
          const actual = steps(
            adamw(options),
            of(start),
            gradients.map((g) => of(g)),
          );
          for (const [i, p] of expected.entries()) {
            // Float32 params and state against float64 ones.
            expect(Math.abs(x(actual[i]!)[0]! - p)).toBeLessThan(1e-5 * (1 + Math.abs(start) + Math.abs(p)));
          }
        },
      ),
    );
  });

  it('has PyTorch’s defaults', () => {
    const gradients = [of(0.3), of(-0.2), of(0.7)];
    const options = { rate: 1e-3, beta1: 0.9, beta2: 0.999, eps: 1e-8, weightDecay: 0.01 };
    expect(steps(adamw({ rate: 1e-3 }), of(5), gradients)).toEqual(steps(adamw(options), of(5), gradients));
    expect(x(steps(adamw({ rate: 0.1, weightDecay: 0 }), of(5), gradients).at(-1)!)).toEqual(
      x(steps(adam({ rate: 0.1 }), of(5), gradients).at(-1)!),
    );
  });

  it('follows a schedule by its own count of steps, also over a saved state', () => {
    const optimizer = adam({ rate: (step) => [0.5, 0.25, 0.125][step]! });
    const [g, p] = [of(1), of(0)];
    const [u0, s0] = optimizer.update(g, optimizer.init(p), p);
    const saved = decodeState(encodeState(s0)) as typeof s0;
    const [u1, s1] = optimizer.update(g, saved, p);
    const [u2] = optimizer.update(g, s1, p);
    expect([u0, u1, u2].map((u) => x(u)[0])).toEqual([-0.5, -0.25, -0.125].map((v) => expect.closeTo(v, 6) as number));
    expect(() => adam({ rate: () => Number.NaN }).update(g, s0, p)).toThrow('the learning rate of step 1 is NaN');
    expect(() => adam({ rate: -1 }).update(g, s0, p)).toThrow('is -1; it must be at least 0');
  });

  it('changes neither its arguments nor its state', () => {
    const optimizer = adamw({ rate: 0.1 });
    const [g, p] = [of(1, 2), of(3, 4)];
    const [, state] = optimizer.update(g, optimizer.init(p), p);
    const before = encodeState(state);
    const [one] = optimizer.update(g, state, p);
    const [two] = optimizer.update(g, state, p);
    expect(sameBits(one, two)).toBe(true);
    expect(encodeState(state)).toEqual(before);
    expect([x(g), x(p)]).toEqual([
      [1, 2],
      [3, 4],
    ]);
  });

  it('refuses gradients and states of other params', () => {
    const optimizer = adam({ rate: 1 });
    const p = of(1, 2);
    expect(() => optimizer.update(of(1), optimizer.init(p), p)).toThrow('the gradients and the params do not fit');
    expect(() => optimizer.update(of(1, 2), optimizer.init(of(1)), p)).toThrow('the optimizer state and the params');
  });
});
