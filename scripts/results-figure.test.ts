import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { marksOf, resultsFigure } from './results-figure.ts';

const csv = readFileSync('docs/results/embedded-long.csv', 'utf8');
const readme = readFileSync('README.md', 'utf8');

test('the figure is that of the numbers, and so is the table beside it', () => {
  expect(readFileSync('docs/images/results.svg', 'utf8')).toBe(resultsFigure(csv)); // else: npm run docs
  const marks = marksOf(csv);
  expect(marks).toHaveLength(11);
  for (const { name, model, mean } of marks) {
    const row = readme.split('\n').find((line) => line.startsWith(`| ${name} |`));
    expect(row?.split('|')[model === 'global' ? 2 : 3]?.trim(), `${name}, ${model}`).toBe(mean.toFixed(3));
  }
});
