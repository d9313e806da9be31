import { expect, test } from 'vitest';
import { amountFlag, numberFlag } from './flags.ts';

test('sizes and durations have their unit', () => {
  expect(['6GB', '1.5 TB', '250MB', '10B'].map((text) => amountFlag('--max-memory', text))).toEqual([
    6e9, 1.5e12, 2.5e8, 10,
  ]);
  expect(['90min', '45 s', '2h'].map((text) => amountFlag('--max-time', text))).toEqual([5400, 45, 7200]);
});

test.each([
  ['--max-memory', '6'],
  ['--max-memory', '0GB'],
  ['--max-memory', '1.2.3GB'],
  ['--max-memory', '6 h'],
  ['--max-memory', 'constructor'],
  ['--max-time', '-1h'],
  ['--max-time', '1000h'],
] as const)('%s %s is refused', (flag, text) => {
  expect(() => amountFlag(flag, text)).toThrow(`${flag}: expected a number and a unit`);
});

test('a number is told its bounds, and whether the least is one of them', () => {
  expect(numberFlag('--top-p', '0.5', { above: 0, most: 1 })).toBe(0.5);
  expect(() => numberFlag('--top-p', '0', { above: 0, most: 1 })).toThrow(
    '--top-p: expected a number above 0 and at most 1, got 0',
  );
  expect(numberFlag('--seed', '0', { least: 0, whole: true })).toBe(0);
  expect(() => numberFlag('--seed', '-1', { least: 0, whole: true })).toThrow('a whole number of at least 0, got -1');
});
