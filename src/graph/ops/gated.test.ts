import { expect, test } from 'vitest';
import { checkGradients, floats } from '../../../tests/finite-differences.ts';
import { Graph } from '../graph.ts';
import { gatedLowRank } from './gated.ts';
import { linear } from './linear.ts';

// Two parts of ranks 2 and 1 over 4 inputs and 5 outputs, 3 tokens.
const x = floats([3, 4], 1);
const w = floats([5, 4], 2);
const a = floats([3, 4], 3);
const b = floats([5, 3], 4);
const gate = floats([2, 4], 5);
const parts = { type: 'float32', dims: [2, 3], data: Float32Array.of(1, 1, 0, 0, 0, 1) } as const;
const at = ({ dims, data }: typeof x, i: number, j: number): number => data[i * dims[1]! + j] as number;
const dot = (f: typeof x, row: number, token: number): number =>
  [0, 1, 2, 3].reduce((sum, i) => sum + at(f, row, i) * at(x, token, i), 0);

test('each part counts, token by token, by the softmax of the mixer; gradients by finite differences', async () => {
  const y = await checkGradients(
    (g, [vx, vw, va, vb, vg]) => {
      const low = { a: va!, b: vb!, scale: 1.5 };
      return gatedLowRank(g, vx!, linear(g, vx!, vw!), low, { gate: vg!, parts: g.input('parts', 'float32', [2, 3]) });
    },
    { x, w, a, b, gate },
    { parts },
  );
  for (const [token, out] of [
    [0, 0],
    [1, 2],
    [2, 4],
  ] as const) {
    const logits = [dot(gate, 0, token), dot(gate, 1, token)].map(Math.exp);
    const share = logits.map((e) => e / (logits[0]! + logits[1]!));
    const own = [0, 1].reduce((sum, r) => sum + at(b, out, r) * dot(a, r, token), 0);
    const other = at(b, out, 2) * dot(a, 2, token);
    const right = dot(w, out, token) + 1.5 * (share[0]! * own + share[1]! * other);
    expect(y.data[token * 5 + out]).toBeCloseTo(right, 5);
  }
});

test('a mixer for other inputs is refused when the graph is built', () => {
  const g = new Graph();
  const input = (name: string, shape: number[]) => g.input(name, 'float32', shape);
  const low = { a: input('a', [3, 4]), b: input('b', [5, 3]), scale: 1 };
  const mixer = { gate: input('gate', [2, 5]), parts: input('parts', [2, 3]) };
  expect(() => gatedLowRank(g, input('x', [3, 4]), input('y', [3, 5]), low, mixer)).toThrow('expected [2, 4]');
});
