import { afterAll, beforeAll, expect, test } from 'vitest';
import { collect } from '../../tests/support/collect.ts';
import { smallLlama, type SmallLlama } from '../../tests/support/small-llama.ts';
import type { ClientData } from '../data/types.ts';
import { factors } from '../lora/factors.ts';
import { adamw } from '../optim/adamw.ts';
import { norm, sameBits, subtract } from '../tensor/tensors.ts';
import type { Tensors } from '../tensor/tensor.ts';
import { clientKit } from './client-kit.ts';
import type { ClientKit } from './kit.ts';

let small: SmallLlama;
beforeAll(async () => {
  small = await smallLlama();
});
afterAll(() => small.engine.close());

const kitOf = (client: ClientData): ClientKit =>
  clientKit({
    client,
    engine: small.engine,
    seed: 1,
    stage: 's',
    round: 0,
    rounds: 1,
    signal: new AbortController().signal,
  });

const relative = (a: Tensors, b: Tensors): number => norm(subtract(a, b)) / norm(b);

/** An adapter whose B has moved, so that both factors have gradients. */
async function moved(client: ClientData): Promise<Tensors> {
  const { result } = await collect(
    kitOf(client).train({
      from: small.initial,
      parametrisation: factors(),
      optimizer: adamw({ rate: 1e-2 }),
      length: { steps: 2 },
      batchSize: 3,
    }),
  );
  return result.params;
}

test('on a real Llama, the gradient over all rows is that of one batch, whatever the batch size', async () => {
  const client = small.clients[1]!;
  const params = await moved(client);
  const from = { ...small.initial, factors: params };
  const at = async (batchSize: number): Promise<{ gradients: Tensors; loss: number; tokens: number }> =>
    (await collect(kitOf(client).gradient({ from, parametrisation: factors(), params, rows: 'all', batchSize })))
      .result;
  const whole = await at(9);
  for (const batchSize of [1, 2, 4]) {
    const part = await at(batchSize);
    expect(part.tokens).toBe(whole.tokens);
    expect(Math.abs(part.loss - whole.loss)).toBeLessThan(1e-5);
    expect(relative(part.gradients, whole.gradients)).toBeLessThan(1e-4);
  }
});

test('on a real Llama, training repeats bit for bit, and lowers the loss', async () => {
  const client = small.clients[0]!;
  const run = (steps: number) =>
    collect(
      kitOf(client).train({
        from: small.initial,
        parametrisation: factors(),
        optimizer: adamw({ rate: 1e-2 }),
        length: { steps },
        batchSize: 5,
      }),
    );
  const [first, second] = [await run(8), await run(8)];
  expect(sameBits(first.result.params, second.result.params)).toBe(true);
  const losses = first.yielded.map(({ loss }) => loss);
  expect(losses.at(-1)!).toBeLessThan(losses[0]! - 0.05);
});
