import { describe, expect, it } from 'vitest';
import { apart } from '../../tests/support/combined.ts';
import { deltaOf } from '../../tests/support/delta.ts';
import { begin, contextOf, exactKit, oneRound } from '../../tests/support/rounds.ts';
import { distance, randomFactors, toyAdapter, toyLayout } from '../../tests/toy-adapter.ts';
import { keyOfA, keyOfB, type LoraLayout } from '../lora/adapter.ts';
import { onlyA } from '../lora/factors.ts';
import { stackAdapter } from '../lora/mix.ts';
import { sgd } from '../optim/sgd.ts';
import type { Tensor, Tensors } from '../tensor/tensor.ts';
import { getTensor, tensor, zeros } from '../tensor/tensors.ts';
import type { ClientKit } from '../train/kit.ts';
import { averageFactors } from './average-factors.ts';
import { fedit } from './fedit.ts';

const A = keyOfA('m0');
const B = keyOfB('m0');
const product = (factors: Tensors, layout: LoraLayout): Tensor => deltaOf({ layout, factors }, 'm0');
/** Σ share·B·A. */
const sumOf = (parts: readonly { readonly factors: Tensors; readonly share: number }[], layout: LoraLayout): Tensor =>
  deltaOf(stackAdapter(parts.map(({ factors, share }) => ({ adapter: { layout, factors }, weight: share }))), 'm0');

describe('one full-batch step of plain SGD at every client, weighed by labelled tokens', () => {
  const tokens = [2, 3, 5];
  const on: LoraLayout = toyLayout({ alpha: 2 });
  const start = toyAdapter(on, 1);
  const goals = tokens.map((_, k) => product(randomFactors(on, 40 + k), on));

  /** Gradients of Σ_k w_k·½‖B·A − goal_k‖² with respect to A and B, at scale 1. */
  const gradient =
    (weights: readonly number[]) =>
    (factors: Tensors): Tensors => {
      const [a, b] = [getTensor(factors, A), getTensor(factors, B)];
      const w = product(factors, on);
      const g = w.data.map((x, i) => weights.reduce((sum, weight, k) => sum + weight * (x - goals[k]!.data[i]!), 0));
      const at = (o: number, i: number): number => g[o * 5 + i]!;
      const dA = a.data.map((_, n) =>
        [0, 1, 2, 3, 4, 5].reduce((sum, o) => sum + b.data[o * 2 + Math.floor(n / 5)]! * at(o, n % 5), 0),
      );
      const dB = b.data.map((_, n) =>
        [0, 1, 2, 3, 4].reduce((sum, i) => sum + at(Math.floor(n / 2), i) * a.data[(n % 2) * 5 + i]!, 0),
      );
      return new Map([
        [A, tensor(a.shape, dA)],
        [B, tensor(b.shape, dB)],
      ]);
    };
  const own = (k: number): number[] => tokens.map((_, j) => (j === k ? 1 : 0));
  const plainly = (kit: ClientKit, rate: number): ClientKit => ({
    ...kit,
    train: (request) => kit.train({ ...request, optimizer: sgd({ rate }) }),
  });

  async function step(rate: number) {
    const [stage] = fedit.stages({ weights: 'tokens' }, contextOf(on));
    const ends: Tensors[] = [];
    const kits = tokens.map((labelledTokens, k) => {
      const kit = plainly(exactKit(gradient(own(k)), { client: `c${k}`, examples: 1 }), rate);
      return { kit: { ...kit, labelledTokens } };
    });
    const { shared, updates } = await oneRound(stage!, begin(stage!, start), kits);
    for (const update of updates.values())
      ends.push(
        new Map(
          [...update].map(([key, { shape, data }]) => [
            key,
            tensor(
              shape,
              data.map((x, i) => x + start.factors.get(key)!.data[i]!),
            ),
          ]),
        ),
      );
    const pooled = gradient(tokens.map((n) => n / 10))(start.factors);
    const central = new Map(
      [...start.factors].map(([key, { shape, data }]) => [
        key,
        tensor(
          shape,
          data.map((x, i) => x - rate * pooled.get(key)!.data[i]!),
        ),
      ]),
    );
    const exact = sumOf(
      ends.map((factors, k) => ({ factors, share: tokens[k]! / 10 })),
      on,
    );
    return { fedit: stage!.models(shared)[0]!.adapter.factors, central, exact };
  }

  it('is, averaged as FedIT does, the same step on the pooled data; the exact mean of products is O(rate²) away from it', async () => {
    const away: number[] = [];
    for (const rate of [0.1, 0.01]) {
      const { fedit: averaged, central, exact } = await step(rate);
      for (const key of [A, B]) expect(distance(averaged.get(key), central.get(key))).toBeLessThan(1e-5);
      away.push(apart(exact, product(central, on)));
    }
    expect(away[0]).toBeGreaterThan(0.01);
    expect(away[0]! / away[1]!).toBeCloseTo(100, -1);
  });

  it('of A alone goes nowhere where B = 0', async () => {
    const still = { layout: on, factors: new Map([...start.factors, [B, zeros([6, 2])]]) };
    const { train } = contextOf(on);
    const stage = averageFactors({
      name: 'a',
      rounds: 1,
      layout: on,
      parametrisation: onlyA(),
      train,
      weights: 'uniform',
      optimizerState: 'reset',
    });
    const kit = plainly(exactKit(gradient(own(0))), 1);
    const { updates } = await oneRound(stage, still.factors, [{ kit }]);
    expect(
      updates
        .get('c')!
        .get(A)!
        .data.every((x) => Math.abs(x) === 0),
    ).toBe(true);
  });
});
