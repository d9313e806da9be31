import { expect } from 'vitest';
import { gradients } from '../src/graph/autodiff.ts';
import { Graph } from '../src/graph/graph.ts';
import { mul } from '../src/graph/ops/basic.ts';
import { encodeModel } from '../src/graph/proto.ts';
import type { Dim, Value } from '../src/graph/value.ts';
import { openSession } from '../src/runtime/node/session.ts';
import type { Feed, Feeds } from '../src/runtime/session.ts';
import { sumAll } from './support/sum-all.ts';

/** A fixed stream of numbers in [-1, 1). */
export function numbers(count: number, seed: number): Float32Array {
  let x = (seed * 2654435761) >>> 0;
  return Float32Array.from({ length: count }, () => {
    x = (Math.imul(1664525, x) + 1013904223) >>> 0;
    return x / 2 ** 31 - 1;
  });
}

export const floats = (dims: readonly number[], seed: number): Feed => ({
  type: 'float32',
  dims,
  data: numbers(
    dims.reduce((product, size) => product * size, 1),
    seed,
  ),
});

export async function runGraph(g: Graph, feeds: Feeds): Promise<Feeds> {
  const session = await openSession(
    encodeModel(
      g.finish(() => {
        throw new Error('no weights in this graph');
      }),
    ),
    undefined,
    { threads: 2 },
  );
  const results = await session.run(feeds);
  await session.close();
  return results;
}

/**
 * Runs an op in ONNX Runtime and checks every entry of the gradient of Σ c∘y, c fixed, against central differences.
 * `build` gets the values of `wanted` in their order and declares further inputs, fed by `others`, itself. Gives the op's result.
 */
export async function checkGradients(
  build: (g: Graph, inputs: readonly Value[]) => Value,
  wanted: Readonly<Record<string, Feed>>,
  others: Feeds = {},
  symbolic: Readonly<Record<string, readonly Dim[]>> = {},
): Promise<Feed> {
  const plain = new Graph();
  const declare = (g: Graph): Value[] =>
    Object.entries(wanted).map(([name, { dims }]) => g.input(name, 'float32', symbolic[name] ?? dims));
  plain.output('result', build(plain, declare(plain)));
  const y = (await runGraph(plain, { ...others, ...wanted }))['result'] as Feed;

  const g = new Graph();
  const inputs = declare(g);
  const result = build(g, inputs);
  const weights = g.input('c', 'float32', result.shape);
  const loss = sumAll(g, mul(g, result, weights));
  g.output('loss', loss);
  const found = gradients(g, loss, inputs);
  for (const [i, name] of Object.keys(wanted).entries()) g.output(`d ${name}`, found[i] as Value);
  const session = await openSession(
    encodeModel(
      g.finish(() => {
        throw new Error('no weights in this graph');
      }),
    ),
    undefined,
    { threads: 2 },
  );
  const c = { ...floats(y.dims, 99), dims: y.dims };
  const lossAt = async (changed: Feeds): Promise<number> => {
    const { loss: at } = await session.run({ ...others, ...wanted, c, ...changed }, ['loss']);
    return at?.data[0] as number;
  };
  const results = await session.run({ ...others, ...wanted, c });
  const step = 2 ** -6;
  for (const [name, feed] of Object.entries(wanted)) {
    const gradient = (results[`d ${name}`] as Feed).data as Float32Array;
    expect((results[`d ${name}`] as Feed).dims, name).toEqual(feed.dims);
    const top = gradient.reduce((largest, x) => Math.max(largest, Math.abs(x)), 0.1);
    for (let i = 0; i < gradient.length; i++) {
      const moved = async (by: number): Promise<number> => {
        const data = Float32Array.from(feed.data as Float32Array);
        data[i] = (data[i] as number) + by;
        return lossAt({ [name]: { ...feed, data } });
      };
      // Fourth-order central difference: what is left is rounding of float32.
      const slope =
        (8 * ((await moved(step)) - (await moved(-step))) - ((await moved(2 * step)) - (await moved(-2 * step)))) /
        (12 * step);
      expect(Math.abs(slope - (gradient[i] as number)) / top, `d ${name}[${i}]`).toBeLessThan(1e-3);
    }
  }
  await session.close();
  return y;
}
