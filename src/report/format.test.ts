import { expect, it } from 'vitest';
import { bytes, duration, percent, plain, short, whole } from './format.ts';

it.each([
  [0, '0'],
  [950, '950'],
  [999.6, '1000'],
  [1000, '1.0k'],
  [12_350, '12.3k'],
  [99_960, '100k'],
  [999_499, '999k'],
  [999_500, '1.0M'],
  [134_515_008, '135M'],
  [7_000_000_000, '7.0G'],
])('writes the count %d as %s', (value, expected) => expect(short(value)).toBe(expected));

it.each([
  [512, '512 B'],
  [1840, '1.8 kB'],
  [2_500_000, '2.5 MB'],
  [13_000_000_000, '13.0 GB'],
])('writes %d bytes as %s', (value, expected) => expect(bytes(value)).toBe(expected));

it.each([
  [0.04, '0.0 s'],
  [9.94, '9.9 s'],
  [9.96, '10 s'],
  [59.4, '59 s'],
  [59.6, '1 min 00 s'],
  [185, '3 min 05 s'],
  [3599.7, '1 h 00 min'],
  [8040, '2 h 14 min'],
])('writes %d seconds as %s', (value, expected) => expect(duration(value)).toBe(expected));

it('groups digits, gives percentages and takes control characters out', () => {
  expect(whole(15_011)).toBe('15\u202f011');
  expect(whole(999)).toBe('999');
  expect(whole(1_234_567)).toBe('1\u202f234\u202f567');
  expect(percent(0.4123)).toBe('41.2 %');
  expect(plain('a\u0007b\u2028c')).toBe('a\ufffdb\ufffdc');
});
