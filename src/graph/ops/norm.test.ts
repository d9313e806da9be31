import { expect, test } from 'vitest';
import { checkGradients, floats } from '../../../tests/finite-differences.ts';
import { rmsNorm } from './norm.ts';

test('RMS norm: values and gradients', async () => {
  const x = floats([3, 6], 1);
  const w = floats([6], 2);
  const y = await checkGradients((g, [vx, vw]) => rmsNorm(g, vx!, vw!, 1e-2), { x, w });
  const row = (x.data as Float32Array).subarray(6, 12);
  const inv = 1 / Math.sqrt(row.reduce((sum, v) => sum + v * v, 0) / 6 + 1e-2);
  expect(y.data[8]).toBeCloseTo((row[2] as number) * inv * (w.data[2] as number), 5);
});

test('the norm rebuilt for the backward pass has the same values', async () => {
  const x = floats([3, 6], 1);
  const w = floats([6], 2);
  const kept = await checkGradients((g, [vx, vw]) => rmsNorm(g, vx!, vw!, 1e-5), { x, w });
  const rebuilt = await checkGradients(
    (g, [vx, vw]) => {
      const value = rmsNorm(g, vx!, vw!, 1e-5);
      // The same gradient hangs on the rebuilt copy here.
      return g.differentiable([value], value.again!(), (d) => [() => d]);
    },
    { x, w },
  );
  for (const [i, v] of kept.data.entries()) expect(rebuilt.data[i]).toBeCloseTo(Number(v), 6);
});
