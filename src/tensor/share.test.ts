import { expect, test } from 'vitest';
import { floorOfShare } from './share.ts';

test('a share in decimals takes as many of a count as it would on paper', () => {
  const wrong: [number, number][] = [];
  for (let thousandths = 0; thousandths <= 1000; thousandths++)
    for (const count of [1, 2, 3, 7, 10, 50, 64, 100, 999, 1000]) {
      const exact = (thousandths * count - ((thousandths * count) % 1000)) / 1000;
      if (floorOfShare(thousandths / 1000, count) !== exact) wrong.push([thousandths, count]);
    }
  expect(wrong).toEqual([]);
  expect(Math.floor(0.29 * 100)).toBe(28);
  expect(floorOfShare(0.29, 100)).toBe(29);
  // And no more where it falls short by what can be written.
  expect(floorOfShare(0.3333333, 3)).toBe(0);
});
