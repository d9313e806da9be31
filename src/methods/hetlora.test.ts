import { describe, expect, it } from 'vitest';
import { combined, equal, factorsOf, frobenius, layout, mixed } from '../../tests/support/combined.ts';
import { deltaOf } from '../../tests/support/delta.ts';
import { begin, contextOf, exactKit, oneRound, plainTraining } from '../../tests/support/rounds.ts';
import { distance, matrix, randomFactors, toyAdapter, toyLayout } from '../../tests/toy-adapter.ts';
import { keyOfA, keyOfB } from '../lora/adapter.ts';
import type { State } from '../tensor/state.ts';
import type { Tensors } from '../tensor/tensor.ts';
import { scale, tensor } from '../tensor/tensors.ts';
import { fedit } from './fedit.ts';
import { piecesOf } from './combine-factors.ts';
import { addTailPenalty, hetlora, normOf } from './hetlora.ts';

describe('HetLoRA', () => {
  const off = { gamma: 1, lambda: 0 };
  it('averages by ‖B·A‖ (aggregation.json)', async () => {
    const { factors } = await combined(hetlora, off, layout, factorsOf(equal), equal.n_k);
    const { A, B } = equal.hetlora_zero_pad.norm_weighted;
    expect(distance(factors.get(keyOfA('m0')), matrix(A))).toBeLessThan(1e-5);
    expect(distance(factors.get(keyOfB('m0')), matrix(B))).toBeLessThan(1e-5);
  });

  it('pads and truncates mixed ranks (aggregation.json)', async () => {
    const ranks = Object.fromEntries(mixed.ranks.map((rank, k) => [`c${k}`, rank]));
    const widest = toyLayout({ rank: 3 });
    const { stage, shared, mine } = await combined(hetlora, { ...off, ranks }, widest, factorsOf(mixed), mixed.n_k);
    const { client_A, client_B } = mixed.hetlora_zero_pad.norm_weighted;
    for (const k of mixed.ranks.keys()) {
      for (const received of [
        stage.broadcast(shared, `c${k}`, 1),
        stage.models(shared, mine.get(`c${k}`))[0]!.adapter.factors,
      ]) {
        expect(distance(received.get(keyOfA('m0')), matrix(client_A[k]!))).toBeLessThan(1e-5);
        expect(distance(received.get(keyOfB('m0')), matrix(client_B[k]!))).toBeLessThan(1e-5);
      }
    }
  });

  it('is uniform FedIT for equal ranks and norms', async () => {
    const locals = factorsOf(equal).map((factors) => {
      const b = scale(new Map([['b', factors.get(keyOfB('m0'))!]]), 1 / normOf(layout, piecesOf(factors))).get('b')!;
      return new Map([...factors, [keyOfB('m0'), b]]);
    });
    const { factors } = await combined(hetlora, off, layout, locals, [1, 1, 1]);
    const uniform = await combined(fedit, { weights: 'uniform' }, layout, locals, [1, 1, 1]);
    for (const [key, value] of factors) expect(distance(value, uniform.factors.get(key))).toBeLessThan(1e-6);
  });

  it('counts all alike where nobody’s product has a norm', async () => {
    const locals = [1, 2].map(
      (seed) =>
        new Map([...randomFactors(layout, seed), [keyOfB('m0'), matrix(Array.from({ length: 6 }, () => [0, 0]))]]),
    );
    const { factors } = await combined(hetlora, off, layout, locals, [1, 5]);
    const [x, y] = locals.map((each) => each.get(keyOfA('m0'))!.data);
    for (const [i, a] of factors.get(keyOfA('m0'))!.data.entries()) expect(a).toBeCloseTo((x![i]! + y![i]!) / 2, 6);
  });

  it('finds the norm of the product from the factors', () => {
    const adapter = toyAdapter(layout, 3);
    expect(normOf(layout, piecesOf(adapter.factors))).toBeCloseTo(frobenius(deltaOf(adapter, 'm0')), 4);
  });

  it('has a tail penalty with a gradient: finite differences of λ‖tail A‖·‖tail B‖', () => {
    const params = randomFactors(layout, 4);
    const zero = scale(params, 0);
    const gradients = addTailPenalty(layout, 1, 0.5)(zero, params);
    const value = (at: Tensors): number => {
      const a = at.get(keyOfA('m0'))!.data.slice(5);
      const b = at.get(keyOfB('m0'))!.data.filter((_, i) => i % 2 === 1);
      return 0.5 * Math.hypot(...a) * Math.hypot(...b);
    };
    for (const [key, { shape, data }] of params) {
      for (const i of data.keys()) {
        const moved = (by: number): Tensors =>
          new Map([
            ...params,
            [
              key,
              tensor(
                shape,
                data.map((x, j) => (i === j ? x + by : x)),
              ),
            ],
          ]);
        const slope = (value(moved(1e-2)) - value(moved(-1e-2))) / 2e-2;
        expect(gradients.get(key)!.data[i]).toBeCloseTo(slope, 3);
      }
    }
  });

  it('trains with that penalty: where the loss is flat, the tail alone moves, towards 0, by Adam’s rate', async () => {
    const start = toyAdapter(layout, 5);
    const trained = async (lambda: number): Promise<Tensors> => {
      const [stage] = hetlora.stages({ gamma: 0.5, lambda, prune: false }, contextOf(layout));
      const kit = exactKit((factors) => scale(factors, 0), { client: 'c0' });
      const { updates } = await oneRound(stage!, begin(stage!, start, ['c0']), [{ kit }]);
      return updates.get('c0')!;
    };
    for (const [key, { data }] of await trained(0.1)) {
      const inTail = (i: number): boolean => (key === keyOfA('m0') ? i >= 5 : i % 2 === 1);
      for (const [i, x] of data.entries())
        expect(x).toBeCloseTo(inTail(i) ? -plainTraining.rate * Math.sign(start.factors.get(key)!.data[i]!) : 0, 5);
    }
    for (const { data } of (await trained(0)).values()) expect(data.every((x) => x === 0)).toBe(true);
  });

  it('keeps its tail with `prune: false`, shrunk or not', async () => {
    const train = { ...plainTraining, rate: 0.1, length: { steps: 30 } };
    const [stage] = hetlora.stages({ gamma: 0.5, lambda: 0, prune: false }, contextOf(layout, { train }));
    const kit = exactKit((factors) => factors, { client: 'c0' });
    const { mine } = await oneRound(stage!, begin(stage!, toyAdapter(layout, 5), ['c0']), [{ kit }]);
    expect(mine.get('c0')).toEqual({ client: 'c0', kept: 2 });
  });

  it('counts ⌊γ·rank⌋ as on paper: 0.58·50 is 28.999999999999996 in float64', async () => {
    const on = toyLayout({ rank: 50 });
    const train = { ...plainTraining, length: { steps: 3 } };
    const [stage] = hetlora.stages({ gamma: 0.58, lambda: 0 }, contextOf(on, { train }));
    const kit = exactKit((factors) => factors, { client: 'c0' });
    const { mine } = await oneRound(stage!, begin(stage!, toyAdapter(on, 5), ['c0']), [{ kit }]);
    expect(mine.get('c0')).toEqual({ client: 'c0', kept: 29 });
  });

  it('drops a tail that has shrunk, and keeps it dropped', async () => {
    const [stage] = hetlora.stages(
      { gamma: 0.5, lambda: 0 },
      contextOf(layout, { train: { ...plainTraining, rate: 0.1, length: { steps: 30 } } }),
    );
    const start = toyAdapter(layout, 5);
    // The client's loss pulls everything to 0.
    const kit = exactKit((factors) => factors, { client: 'c0' });
    let shared: State = begin(stage!, start, ['c0']);
    let mine: State | undefined;
    for (let round = 0; round < 2; round++) {
      const result = await oneRound(stage!, shared, [{ kit, ...(mine !== undefined && { mine }) }], round);
      shared = result.shared;
      mine = result.mine.get('c0');
      expect(mine).toEqual({ client: 'c0', kept: 1 });
      const { data } = stage!.models(shared)[0]!.adapter.factors.get(keyOfA('m0'))!;
      expect(Math.max(...data.slice(5).map(Math.abs))).toBeLessThan(1e-7);
    }
  });
});
