import { expect } from 'vitest';
import { type Adapter, keyOfA, keyOfB } from '../src/lora/adapter.ts';
import { type Axis, innerProducts, type NormAxis, walk } from '../src/lora/axis.ts';
import type { Parametrisation } from '../src/lora/parametrisation.ts';
import type { Optimizer } from '../src/optim/optimizer.ts';
import type { State } from '../src/tensor/state.ts';
import type { Tensor, Tensors } from '../src/tensor/tensor.ts';
import { add } from '../src/tensor/tensors.ts';
import { distance, matrix } from './toy-adapter.ts';

export type Rows = number[][];
interface Gradients {
  readonly loss: number;
  readonly grad_delta_A_M: Rows;
  readonly grad_delta_A_D: Rows;
  readonly grad_delta_B_M: Rows;
  readonly grad_delta_B_D: Rows;
}
type DirectionGradients = Pick<Gradients, 'grad_delta_A_D' | 'grad_delta_B_D'>;
interface Stage2 {
  readonly lr: number;
  readonly lambda: number;
  readonly losses_without_penalty: number[];
  readonly delta_B_M_after_each_step: Rows[];
  readonly A: Rows;
  readonly B: Rows;
}
export interface Mode {
  readonly axis_A: NormAxis;
  readonly axis_B: NormAxis;
  readonly A_M: Rows;
  readonly A_D: Rows;
  readonly B_M: Rows;
  readonly B_D: Rows;
  readonly at_zero_delta: Gradients;
  readonly at_zero_delta_detached_norm: DirectionGradients;
  readonly at_delta_A_D: Gradients & { readonly A: Rows };
  readonly at_delta_A_D_detached_norm: DirectionGradients;
  readonly at_all_deltas: Gradients & Record<'delta_A_M' | 'delta_A_D' | 'delta_B_M' | 'delta_B_D' | 'A' | 'B', Rows>;
  readonly at_delta_B_M_with_penalty: {
    readonly delta_B_M: Rows;
    readonly lambda: number;
    readonly loss_without_penalty: number;
    readonly penalty: number;
    readonly grad_delta_B_M: Rows;
  };
  readonly stage1_adam: {
    readonly lr: number;
    readonly losses: number[];
    readonly delta_A_D_after_each_step: Rows[];
    readonly A: Rows;
    readonly B: Rows;
  };
  readonly stage2_adamw: { readonly weight_decay_0: Stage2; readonly weight_decay_0_1: Stage2 };
}
export interface Case extends Record<'A' | 'B' | 'W0' | 'x' | 'target' | 'delta_A_D' | 'grad_A' | 'grad_B', Rows> {
  readonly name: string;
  readonly scale: number;
  readonly loss: number;
  readonly modes: Record<Axis, Mode>;
}

const name = 'm';
export const [a, b] = [keyOfA(name), keyOfB(name)];

export function adapterOf(given: Case, A: Tensor, B: Tensor): Adapter {
  const [rank, inFeatures] = A.shape as [number, number];
  const module = { name, inFeatures, outFeatures: B.shape[0]!, rank, alpha: given.scale * rank, scale: given.scale };
  return {
    layout: { modules: [module], rslora: false },
    factors: new Map([
      [a, A],
      [b, B],
    ]),
  };
}

/** The golden model: loss = mean over (x (W0 + s B A)ᵀ − target)², and its gradients with respect to A and B, in float64. */
export function lossOf({ W0, x, target, scale }: Case, factors: Tensors): { loss: number; gradients: Tensors } {
  const [A, B] = [rowsOf(factors.get(a)!), rowsOf(factors.get(b)!)];
  const W = plus(W0, product(B, A), scale);
  const residual = plus(product(x, transpose(W)), target, -1);
  const count = residual.flat().length;
  const dW = product(transpose(residual), x).map((row) => row.map((v) => (2 / count) * v));
  const scaled = dW.map((row) => row.map((v) => scale * v));
  return {
    loss: residual.flat().reduce((sum, v) => sum + v * v, 0) / count,
    gradients: new Map([
      [a, matrix(product(transpose(B), scaled))],
      [b, matrix(product(scaled, transpose(A)))],
    ]),
  };
}

const transpose = (m: Rows): Rows => m[0]!.map((_, c) => m.map((row) => row[c]!));
const product = (p: Rows, q: Rows): Rows =>
  p.map((row) => q[0]!.map((_, c) => row.reduce((sum, v, k) => sum + v * q[k]![c]!, 0)));
const plus = (p: Rows, q: Rows, factor: number): Rows => p.map((row, r) => row.map((v, c) => v + factor * q[r]![c]!));
export const rowsOf = ({ shape, data }: Tensor): Rows =>
  Array.from({ length: shape[0]! }, (_, r) => [...data.subarray(r * shape[1]!, (r + 1) * shape[1]!)]);

export function near(actual: Tensor | undefined, expected: Rows, within = 1e-5): void {
  expect(actual?.shape).toEqual([expected.length, expected[0]!.length]);
  expect(distance(actual, matrix(expected))).toBeLessThan(within);
}

/** The gradient of a parametrisation's params at `delta`, through the golden model. */
export function gradientAt(given: Case, how: Parametrisation, key: string, adapter: Adapter, delta?: Rows): Tensor {
  const point = how.at(adapter);
  const params = delta === undefined ? point.init : new Map([[key, matrix(delta)]]);
  return point.pullback(lossOf(given, point.toFactors(params)).gradients, params).get(key)!;
}

export const moveBy = (x: Tensor, delta: Rows): Tensor =>
  add(new Map([['x', x]]), new Map([['x', matrix(delta)]])).get('x')!;

/** ⟨gradient, direction⟩ per vector, of the magnitude's shape. */
export function alongVectors(gradient: Tensor, direction: Tensor, over: NormAxis, like: Rows): Tensor {
  const products = innerProducts(gradient.data, direction.data, walk(direction, over));
  return { shape: [like.length, like[0]!.length], data: Float32Array.from(products) };
}

/** The plain training loop of one parametrisation on the golden model. */
export function train(
  given: Case,
  how: Parametrisation,
  adapter: Adapter,
  optimizer: Optimizer,
  correct: (gradients: Tensors, params: Tensors) => Tensors = (gradients) => gradients,
) {
  const point = how.at(adapter);
  let params = point.init;
  let state: State = optimizer.init(params);
  return {
    get factors() {
      return point.toFactors(params);
    },
    get loss() {
      return lossOf(given, this.factors).loss;
    },
    next(): Tensors {
      const gradients = point.pullback(lossOf(given, this.factors).gradients, params);
      const [updates, next] = optimizer.update(correct(gradients, params), state, params);
      [params, state] = [add(params, updates), next];
      return params;
    },
  };
}
