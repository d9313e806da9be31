import { expect, test } from 'vitest';
import { checkGradients, floats } from '../../../tests/finite-differences.ts';
import { swiglu } from './swiglu.ts';

test('SwiGLU: values and gradients, also far from zero', async () => {
  const gate = floats([2, 8], 1);
  for (const [i, x] of gate.data.entries()) gate.data[i] = 4 * Number(x);
  const up = floats([2, 8], 2);
  const y = await checkGradients((g, [vg, vu]) => swiglu(g, vg!, vu!), { gate, up });
  for (const [i, x] of (gate.data as Float32Array).entries())
    expect(y.data[i]).toBeCloseTo((x / (1 + Math.exp(-x))) * (up.data[i] as number), 5);
});
