import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { fromBfloat16, fromFloat16, toBfloat16, toFloat16 } from './half.ts';

const patterns = Uint16Array.from({ length: 65_536 }, (_, i) => i);
const float = fc.float({ noNaN: true });
const one = (x: number) => Float32Array.of(x);

/** The nearest of all finite values to x, ties to the even pattern; infinity from half a step beyond the largest. */
function nearest(x: number, values: Float32Array, overflow: number): number {
  if (Math.abs(x) >= overflow) return Math.sign(x) * Infinity;
  let best = 0;
  let distance = Infinity;
  const [from, to] = x < 0 || Object.is(x, -0) ? [0x8000, 0x10000] : [0, 0x8000];
  for (let bits = from; bits < to; bits++) {
    const gap = Math.abs(values[bits]! - x);
    if (gap < distance || (gap === distance && bits % 2 === 0)) [best, distance] = [values[bits]!, gap];
  }
  return best;
}

describe('float16', () => {
  it('knows the values of the standard', () => {
    const known: readonly (readonly [number, number])[] = [
      [0x0000, 0],
      [0x3c00, 1],
      [0xc000, -2],
      [0x7bff, 65504],
      [0x0400, 2 ** -14],
      [0x0001, 2 ** -24],
      [0x3555, 0.333251953125],
      [0x7c00, Infinity],
      [0xfc00, -Infinity],
    ];
    for (const [bits, value] of known) {
      expect(fromFloat16(Uint16Array.of(bits))[0]).toBe(value);
      expect(toFloat16(one(value))[0]).toBe(bits);
    }
    expect(Object.is(fromFloat16(Uint16Array.of(0x8000))[0], -0)).toBe(true);
  });

  it('returns every pattern to itself, NaN to NaN', () => {
    const values = fromFloat16(patterns);
    const back = toFloat16(values);
    expect(patterns.filter((i) => !Number.isNaN(values[i]) && back[i] !== i)).toEqual(new Uint16Array());
    expect(fromFloat16(toFloat16(one(NaN)))[0]).toBeNaN();
    expect(values.filter(Number.isNaN).length).toBe(2 * 1023);
  });

  it('rounds to nearest even', () => {
    const values = fromFloat16(patterns).map((v) => (Number.isFinite(v) ? v : NaN));
    const middling = fc.double({ min: -70_000, max: 70_000, noNaN: true }).map(Math.fround);
    const tiny = fc.double({ min: -1e-4, max: 1e-4, noNaN: true }).map(Math.fround);
    const tie = fc.integer({ min: 0, max: 0x7bfe }).map((i) => (values[i]! + values[i + 1]!) / 2);
    fc.assert(
      fc.property(fc.oneof(float, middling, tiny, tie), (x) => {
        expect(fromFloat16(toFloat16(one(x)))[0]).toBe(nearest(x, values, 65_520));
      }),
      { numRuns: 300 },
    );
  });
});

describe('bfloat16', () => {
  it('returns every pattern to itself, NaN to NaN', () => {
    const values = fromBfloat16(patterns);
    const back = toBfloat16(values);
    const again = fromBfloat16(back);
    expect(patterns.filter((i) => (Number.isNaN(values[i]) ? !Number.isNaN(again[i]) : back[i] !== i))).toEqual(
      new Uint16Array(),
    );
    // A NaN whose fraction lies only in the bits that fall away stays one.
    const low = new Float32Array(Uint32Array.of(0x7f80_0001).buffer);
    expect(fromBfloat16(toBfloat16(low))[0]).toBeNaN();
  });

  it('rounds to nearest even', () => {
    const values = fromBfloat16(patterns).map((v) => (Number.isFinite(v) ? v : NaN));
    const tie = fc.integer({ min: 0, max: 0x7f7e }).map((i) => (values[i]! + values[i + 1]!) / 2);
    fc.assert(
      fc.property(fc.oneof(float, tie), (x) => {
        expect(fromBfloat16(toBfloat16(one(x)))[0]).toBe(nearest(x, values, 2 ** 128 - 2 ** 119));
      }),
      { numRuns: 200 },
    );
  });
});
