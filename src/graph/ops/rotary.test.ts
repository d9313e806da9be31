import { expect, test } from 'vitest';
import { checkGradients, floats } from '../../../tests/finite-differences.ts';
import { rotary } from './rotary.ts';

test('rotary embedding turns half-split pairs by their position, and back', async () => {
  const x = floats([3, 8], 1);
  const angles = Float32Array.of(0, 0, 0.5, 0.2, 1, 0.4);
  const table = (f: (angle: number) => number) =>
    ({ type: 'float32', dims: [3, 2], data: angles.map((a) => f(a)) }) as const;
  const positions = { type: 'int64', dims: [3, 1], data: BigInt64Array.of(2n, 0n, 1n) } as const;
  const y = await checkGradients(
    (g, [value]) => {
      const cos = g.input('cos', 'float32', ['p', 2]);
      const sin = g.input('sin', 'float32', ['p', 2]);
      const minusSin = g.input('minusSin', 'float32', ['p', 2]);
      return rotary(g, value!, g.input('positions', 'int64', ['n', 1]), { cos, sin, minusSin }, 2);
    },
    { x },
    { cos: table(Math.cos), sin: table(Math.sin), minusSin: table((a) => -Math.sin(a)), positions },
    { x: ['n', 8] },
  );
  // Second head of the first token: features 4 … 7, position 2.
  const [a, b, c, d] = x.data.slice(4, 8) as unknown as [number, number, number, number];
  const turned = [
    a * Math.cos(1) - c * Math.sin(1),
    b * Math.cos(0.4) - d * Math.sin(0.4),
    c * Math.cos(1) + a * Math.sin(1),
    d * Math.cos(0.4) + b * Math.sin(0.4),
  ];
  for (const [i, v] of turned.entries()) expect(y.data[4 + i]).toBeCloseTo(v, 6);
});
