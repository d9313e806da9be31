import { describe, expect, it } from 'vitest';
import { apart, combined, equal, factorsOf, frobenius, layout } from '../../tests/support/combined.ts';
import { deltaOf } from '../../tests/support/delta.ts';
import { pair, productOf } from '../../tests/support/rounds.ts';
import { distance, matrix, randomFactors, toyAdapter, toyLayout } from '../../tests/toy-adapter.ts';
import { keyOfA, keyOfB } from '../lora/adapter.ts';
import { stackAdapter } from '../lora/mix.ts';
import { columnsOf, rowsOf, svdOfProduct } from '../tensor/linalg.ts';
import type { Tensor, Tensors } from '../tensor/tensor.ts';
import { getTensor, subtract, tensor, zeros } from '../tensor/tensors.ts';
import { fedexLora, residual } from './fedex-lora.ts';
import { fedit } from './fedit.ts';
import { flexlora } from './flexlora.ts';
import { flora } from './flora.ts';
import { floraNa } from './flora-na.ts';
import { hetlora, normOf } from './hetlora.ts';
import { piecesOf, type ClientFactors } from './combine-factors.ts';
import { correctedMean, loraFair } from './lora-fair.ts';
import type { Method } from './method.ts';

// Facts that hold for every method of their kind, whatever the reference files have.
const shares = equal.n_k.map((n) => n / equal.n_k.reduce((sum, x) => sum + x, 0));
const clients = factorsOf(equal).map((factors, k) => ({ factors, share: shares[k]! }));
const A = keyOfA('m0');
const B = keyOfB('m0');
const whole = ({ factors, share }: { readonly factors: Tensors; readonly share: number }): ClientFactors => ({
  of: piecesOf(factors),
  share,
});
const minus = (x: Tensor, y: Tensor): Tensor => subtract(new Map([['x', x]]), new Map([['x', y]])).get('x')!;
const product = (factors: Tensors, on = layout): Tensor => deltaOf({ layout: on, factors }, 'm0');
/** Σ weight·B·A. */
const sumOf = (parts: readonly { readonly factors: Tensors; readonly share: number }[], on = layout): Tensor =>
  deltaOf(stackAdapter(parts.map(({ factors, share }) => ({ adapter: { layout: on, factors }, weight: share }))), 'm0');

describe('the residual of averaging factors', () => {
  const ofPairs = clients.flatMap((i) =>
    clients.map((j) => ({ factors: subtract(i.factors, j.factors), share: (i.share * j.share) / 2 })),
  );

  it('is half the sum over pairs of p_i·p_j·(B_i − B_j)(A_i − A_j), of rank (K − 1)·r at most', () => {
    const { a, b } = parts(
      residual(layout, clients.map(whole), new Map([A, B].map((key) => [key, average(clients, key)]))),
    );
    const found = product(
      new Map([
        [A, a],
        [B, b],
      ]),
      toyLayout({ rank: a.shape[0]!, alpha: 2 * a.shape[0]! }),
    );
    expect(distance(found, sumOf(ofPairs))).toBeLessThan(1e-5);
    const { sigma } = svdOfProduct(columnsOf(b), rowsOf(a));
    expect(sigma.filter((value) => value > 1e-6).length).toBeLessThanOrEqual((clients.length - 1) * 2);
  });

  it.each([A, B])('vanishes where clients have %s in common', (key) => {
    const common = clients.map(({ factors, share }) => ({
      factors: new Map([...factors, [key, clients[0]!.factors.get(key)!]]),
      share,
    }));
    const mean = new Map([A, B].map((name) => [name, average(common, name)] as const));
    expect(apart(sumOf(common), product(mean))).toBeLessThan(1e-5);
    const means = new Map([A, B].map((name) => [name, average(clients, name)] as const));
    expect(apart(sumOf(clients), product(means))).toBeGreaterThan(0.1);
  });
});

function parts(log: Tensors): { a: Tensor; b: Tensor } {
  const of = (ending: string): Tensor => [...log].find(([key]) => key.includes(ending))![1];
  return { a: of('lora_A'), b: of('lora_B') };
}

function average(from: readonly { readonly factors: Tensors; readonly share: number }[], key: string): Tensor {
  const { shape, data } = getTensor(from[0]!.factors, key);
  return tensor(
    shape,
    data.map((_, i) => from.reduce((sum, { factors, share }) => sum + share * factors.get(key)!.data[i]!, 0)),
  );
}

describe('gauge: a client that has (B·Q, Q⁻¹·A) in place of (B, A)', () => {
  // Q is a rotation and a stretch: no axis of it is one of the rank's.
  const turned = (factors: Tensors, angle: number): Tensors => {
    const [c, s] = [Math.cos(angle), Math.sin(angle)];
    const [q, inverse] = [
      [2 * c, -s / 2, 2 * s, c / 2],
      [c / 2, s / 2, -2 * s, 2 * c],
    ];
    const [a, b] = [getTensor(factors, A), getTensor(factors, B)];
    const columns = a.shape[1]!;
    return new Map([
      [
        A,
        tensor(
          a.shape,
          a.data.map((_, i) =>
            [0, 1].reduce(
              (sum, r) => sum + inverse[2 * Math.floor(i / columns) + r]! * a.data[r * columns + (i % columns)]!,
              0,
            ),
          ),
        ),
      ],
      [
        B,
        tensor(
          b.shape,
          b.data.map((_, i) => [0, 1].reduce((sum, r) => sum + b.data[i - (i % 2) + r]! * q[2 * r + (i % 2)]!, 0)),
        ),
      ],
    ]);
  };
  const change = async (method: Method): Promise<number> => {
    const ends = factorsOf(equal);
    const other = ends.map((factors, k) => turned(factors, k));
    for (const [k, factors] of other.entries()) expect(apart(product(factors), product(ends[k]!))).toBeLessThan(1e-5);
    // Where FLoRA's clients begin is subtracted from the model, so it must be nothing.
    const start = { layout, factors: new Map([...toyAdapter(layout, 5).factors, [B, zeros([6, 2])]]) };
    const [before, after] = [
      await combined(method, {}, layout, ends, equal.n_k, start),
      await combined(method, {}, layout, other, equal.n_k, start),
    ];
    return apart(productOf(before.stage, before.shared), productOf(after.stage, after.shared));
  };

  it.each([fedexLora, flora, flexlora])('$name, which works on products, has the same model', async (method) => {
    expect(await change(method)).toBeLessThan(1e-4);
  });

  it.each([fedit, hetlora, loraFair, floraNa])('$name, which averages factors, has another', async (method) => {
    expect(await change(method)).toBeGreaterThan(1e-2);
  });

  it('weighs as much in HetLoRA: its norm is that of the product', () => {
    const norm = (factors: Tensors): number => normOf(layout, piecesOf(factors));
    for (const [k, factors] of factorsOf(equal).entries()) {
      expect(norm(turned(factors, k))).toBeCloseTo(norm(factors), 5);
      expect(norm(factors)).toBeCloseTo(frobenius(product(factors)), 5);
    }
  });
});

describe('clients that end alike', () => {
  it.each([fedit, fedexLora, flora, flexlora, hetlora, loraFair, floraNa])(
    '$name has their model, as with one',
    async (method) => {
      const one = randomFactors(layout, 3);
      const start = { layout, factors: new Map([...toyAdapter(layout, 5).factors, [B, zeros([6, 2])]]) };
      for (const count of [1, 3]) {
        const ends = Array.from({ length: count }, () => one);
        const { stage, shared } = await combined(method, {}, layout, ends, [1, 2, 3].slice(0, count), start);
        expect(apart(productOf(stage, shared), product(one)) / frobenius(product(one))).toBeLessThan(1e-5);
      }
    },
  );
});

// A1 = [1, 0], B1 = [1, 0]ᵀ, A2 = [0, 1], B2 = [0, 1]ᵀ, p = (¾, ¼): the mean product is diag(.75, .25).
describe('LoRA-FAIR on the toy of two orthogonal clients', () => {
  const toy = toyLayout({ rank: 1, inFeatures: 2, outFeatures: 2, alpha: 1 });
  const two = [
    { factors: pair([[1, 0]], [[1], [0]]), share: 0.75 },
    { factors: pair([[0, 1]], [[0], [1]]), share: 0.25 },
  ];
  const corrected = (lambda: number): Tensors => correctedMean(toy, lambda)(two.map(whole), two[0]!.factors);
  const mean = matrix([
    [0.75, 0],
    [0, 0.25],
  ]);
  const cosine = (x: Tensor): number =>
    x.data.reduce((sum, v, i) => sum + v * mean.data[i]!, 0) / frobenius(x) / frobenius(mean);

  it('adds ΔB = (.147638, −.147638) at λ = .01', () => {
    const { data } = getTensor(corrected(0.01), B);
    expect(data[0]! - 0.75).toBeCloseTo(0.147638, 5);
    expect(data[1]! - 0.25).toBeCloseTo(-0.147638, 5);
  });

  it('ends, as λ falls to 0, at B = (.9, .1), nearer in direction, with a residual at right angles to Ā', () => {
    const free = corrected(1e-12);
    expect(distance(free.get(B), matrix([[0.9], [0.1]]))).toBeLessThan(1e-6);
    const averaged = product(
      new Map([
        [A, matrix([[0.75, 0.25]])],
        [B, matrix([[0.75], [0.25]])],
      ]),
      toy,
    );
    expect([cosine(averaged), cosine(product(free, toy))].map((x) => Number(x.toFixed(6)))).toEqual([
      0.885438, 0.905539,
    ]);
    const left = minus(mean, product(free, toy));
    for (const row of [0, 1]) expect(left.data[2 * row]! * 0.75 + left.data[2 * row + 1]! * 0.25).toBeCloseTo(0, 6);
  });
});

it('averages of B are exact around one A, and not around A’s of clients’ own (FFA-LoRA needs one seed)', () => {
  const on = toyLayout();
  const seeded = [1, 2].map((seed) => randomFactors(on, seed));
  const withOneA = seeded.map((factors) => new Map([...factors, [A, seeded[0]!.get(A)!]]));
  const gap = (ends: readonly Tensors[]): number => {
    const halves = ends.map((factors) => ({ factors, share: 0.5 }));
    return apart(
      sumOf(halves, on),
      product(
        new Map([
          [A, ends[0]!.get(A)!],
          [B, average(halves, B)],
        ]),
        on,
      ),
    );
  };
  expect(gap(withOneA)).toBeLessThan(1e-5);
  expect(gap(seeded)).toBeGreaterThan(0.1);
});
