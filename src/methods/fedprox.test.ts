import { expect, it } from 'vitest';
import { golden } from '../../tests/shared.ts';
import { begin, contextOf, exactKit, oneRound, plainTraining } from '../../tests/support/rounds.ts';
import { toyAdapter, toyLayout } from '../../tests/toy-adapter.ts';
import { sgd } from '../optim/sgd.ts';
import { add, sameBits, subtract, tensor } from '../tensor/tensors.ts';
import type { Tensors } from '../tensor/tensor.ts';
import { fedit } from './fedit.ts';
import { fedprox, proximalGradient } from './fedprox.ts';

const { fedprox: reference } = golden<{ fedprox: Record<string, number[]> & { mu: number } }>('aggregation.json');
const vector = (name: string): Tensors => new Map([['x', tensor([5], reference[name]!)]]);
const numbers = (x: Tensors): number[] => [...x.get('x')!.data];

it('adds μ(θ − θ_t) to the gradient (aggregation.json)', () => {
  const corrected = proximalGradient(vector('theta_t'), reference.mu)(vector('gradient'), vector('theta'));
  for (const [i, x] of numbers(corrected).entries()) expect(x).toBeCloseTo(reference['gradient_with_prox']![i]!, 6);
});

it('ends, with plain SGD on ½‖θ − a‖², at (a + μθ_t)/(1 + μ) (aggregation.json)', () => {
  const correct = proximalGradient(vector('theta_t'), reference.mu);
  const optimizer = sgd({ rate: 0.5 });
  let [theta, state] = [vector('theta'), optimizer.init(vector('theta'))];
  for (let step = 0; step < 60; step++) {
    const [update, next] = optimizer.update(correct(subtract(theta, vector('quadratic_centre')), theta), state, theta);
    [theta, state] = [add(theta, update), next];
  }
  for (const [i, x] of numbers(theta).entries()) expect(x).toBeCloseTo(reference['minimiser']![i]!, 5);
});

const layout = toyLayout();
const adapter = toyAdapter(layout, 1);
async function trained(mu: number | undefined): Promise<Tensors> {
  const context = contextOf(layout, { train: { ...plainTraining, length: { steps: 20 } } });
  const [stage] = mu === undefined ? fedit.stages({}, context) : fedprox.stages({ mu }, context);
  const goal = toyAdapter(layout, 2).factors;
  const kit = exactKit((factors) => subtract(factors, goal));
  const { shared } = await oneRound(stage!, begin(stage!, adapter), [{ kit }]);
  return stage!.models(shared)[0]!.adapter.factors;
}

it('holds a client nearer to what it received the larger μ is; with μ = 0 it is FedIT to the bit', async () => {
  const from = async (mu: number | undefined): Promise<number> => {
    const moved = subtract(await trained(mu), adapter.factors);
    return [...moved.values()].reduce((sum, { data }) => sum + data.reduce((s, x) => s + Math.abs(x), 0), 0);
  };
  expect(sameBits(await trained(0), await trained(undefined))).toBe(true);
  const [none, some, much] = [await from(0), await from(5), await from(50)];
  expect(some).toBeLessThan(none * 0.95);
  expect(much).toBeLessThan(some * 0.9);
});
