import * as fc from 'fast-check';
import { expect, it } from 'vitest';
import { select } from './select.ts';

const selected = (values: readonly number[], at: number): Float64Array => {
  const out = Float64Array.from(values);
  select(out, 0, out.length, at);
  return out;
};

it('puts the value of a place there, none larger before it and none smaller after it', () => {
  // Few different numbers too: most then equal a pivot.
  const number = fc.oneof(fc.float({ noNaN: true, noDefaultInfinity: true }), fc.integer({ min: -2, max: 2 }));
  fc.assert(
    fc.property(fc.array(number, { minLength: 1, maxLength: 300 }), fc.nat(), (values, place) => {
      const at = place % values.length;
      const out = selected(values, at);
      const sorted = Float64Array.from(values).sort();
      expect(out[at]! - sorted[at]!).toBe(0);
      expect(Math.max(...out.subarray(0, at), -Infinity)).toBeLessThanOrEqual(out[at]!);
      expect(Math.min(...out.subarray(at))).toBe(out[at]!);
      expect(out.toSorted()).toEqual(sorted);
    }),
  );
});

it('touches nothing outside its range', () => {
  const values = Float64Array.from({ length: 60 }, (_, i) => (i * 37) % 60);
  const out = values.slice();
  select(out, 10, 50, 30);
  expect(out.subarray(0, 10)).toEqual(values.subarray(0, 10));
  expect(out.subarray(50)).toEqual(values.subarray(50));
  expect(out[30]).toBe(values.slice(10, 50).sort()[20]);
});

it('finds it also where every partition splits off hardly any', () => {
  const steep = Array.from({ length: 1500 }, (_, i) => 1.5 ** ((i * 7) % 1500));
  for (const at of [0, 3, 750, 1499]) expect(selected(steep, at)[at]).toBe(1.5 ** at);
});
