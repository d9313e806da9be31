import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { firstNonFinite } from './finite.ts';
import { fromFloat32 } from './dtype.ts';

describe('firstNonFinite', () => {
  const bad = fc.constantFrom(NaN, Infinity, -Infinity);
  const largest = { F32: 3.4028234663852886e38, F16: 65504, BF16: 3.3895313892515355e38 };
  it.each(['F32', 'F16', 'BF16'] as const)('finds the first bad element of %s at any alignment', (dtype) => {
    const max = largest[dtype];
    const good = fc.oneof(
      fc.constantFrom(0, -0, max, -max, 1e-40),
      fc.float({ min: -60_000, max: 60_000, noNaN: true }),
    );
    fc.assert(
      fc.property(
        fc.array(good, { maxLength: 40 }),
        fc.option(bad),
        fc.nat(40),
        fc.nat(5),
        (values, wrong, at, shift) => {
          const index = Math.min(at, values.length);
          const all = wrong === null ? values : [...values.slice(0, index), wrong, ...values.slice(index), NaN];
          const data = fromFloat32(Float32Array.from(all), dtype);
          const shifted = new Uint8Array(data.length + shift);
          shifted.set(data, shift);
          expect(firstNonFinite(shifted.subarray(shift), dtype)).toBe(wrong === null ? -1 : index);
        },
      ),
    );
  });

  it('looks at the exponent of F64, and at nothing in integers', () => {
    const bytes = (array: Float64Array) => new Uint8Array(array.buffer);
    expect(firstNonFinite(bytes(Float64Array.of(1.7e308, -1, 0)), 'F64')).toBe(-1);
    expect(firstNonFinite(bytes(Float64Array.of(1, 2, -Infinity)), 'F64')).toBe(2);
    expect(firstNonFinite(new Uint8Array(8).fill(255), 'I32')).toBe(-1);
  });
});
