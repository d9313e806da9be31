import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { contentRange, requestedRange } from './ranges.ts';

describe('the bytes that a request asks for', () => {
  // RFC 9110, section 14: the forms of a range, clamped to what is there.
  test.each([
    ['bytes=0-4', 10, { start: 0, end: 4 }],
    ['bytes=5-', 10, { start: 5, end: 9 }],
    ['bytes=-3', 10, { start: 7, end: 9 }],
    ['bytes=-30', 10, { start: 0, end: 9 }],
    ['bytes=8-100', 10, { start: 8, end: 9 }],
    ['bytes=10-', 10, 'outside'],
    ['bytes=0-', 0, 'outside'],
    ['bytes=-0', 10, 'outside'],
    ['bytes=4-2', 10, undefined],
    ['bytes=-', 10, undefined],
    ['bytes=0-1,4-5', 10, undefined],
    ['rows=0-4', 10, undefined],
    [undefined, 10, undefined],
  ])('%s of %d', (header, size, expected) => {
    expect(requestedRange(header, size)).toEqual(expected);
  });

  test('are always bytes that exist', () => {
    fc.assert(
      fc.property(fc.nat(50), fc.nat(50), fc.nat(50), (from, to, size) => {
        const range = requestedRange(`bytes=${from}-${to}`, size);
        if (range === undefined || range === 'outside') return from >= size || to < from;
        return range.start === from && range.end === Math.min(to, size - 1) && range.start <= range.end;
      }),
    );
  });
});

test('an upload says which bytes of how many it brings, or is refused', () => {
  expect(contentRange('bytes 0-9/20')).toEqual({ start: 0, end: 9, total: 20 });
  for (const bad of [
    'bytes 9-0/20',
    'bytes 0-20/20',
    'bytes 0-9/*',
    'bytes */20',
    'bytes 0-9',
    '',
    undefined,
    'bytes -1-9/20',
  ])
    expect(contentRange(bad)).toBeUndefined();
});
