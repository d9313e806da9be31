import { expect, test } from 'vitest';
import { sweepFixture } from '../../tests/sweep-fixture.ts';
import { analyseSweep } from './compare-arms.ts';
import { sweepMarkdown } from './sweep-markdown.ts';
import { headline } from './words.ts';

test('every table of a sweep, each row with as many cells as its head, after the headline', () => {
  const results = sweepFixture();
  const analysis = analyseSweep(results);
  const text = sweepMarkdown(results);
  expect(text.startsWith(headline(analysis))).toBe(true);
  for (const { label } of results.arms) expect(text).toContain(`| ${label} |`);
  const tables = text.split('\n\n').filter((block) => block.startsWith('|'));
  expect(tables.length).toBeGreaterThanOrEqual(analysis.comparisons.length + 3);
  for (const table of tables) {
    const widths = table.split('\n').map((line) => line.replaceAll('\\|', '').split('|').length);
    expect(new Set(widths).size).toBe(1);
  }
});

test('a sweep that has done nothing yet is told without a table of nothing', () => {
  expect(sweepMarkdown({ ...sweepFixture(), cells: [] })).not.toContain('| --- |\n\n');
});
