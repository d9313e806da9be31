import { parseHTML } from 'linkedom';
import { expect, it } from 'vitest';
import { amount, heatPlot, type Heat } from './heat.ts';

const cells = (heat: Partial<Heat> & Pick<Heat, 'values'>) => {
  const whole: Heat = { label: 'a map', rows: ['q_proj', 'v_proj'], columns: ['0', '1'], scale: 'amount', ...heat };
  const { document } = parseHTML(`<!doctype html><html><body>${heatPlot(whole).markup}</body></html>`);
  const found = [...document.querySelectorAll('rect')].filter((rect) => rect.querySelector('title'));
  return {
    document,
    shades: found.map((rect) => [rect.getAttribute('fill'), Number(rect.getAttribute('fill-opacity'))] as const),
    titles: found.map((rect) => rect.querySelector('title')!.textContent),
  };
};

it('shades from nothing to the largest, leaves empty what is null, and writes the numbers', () => {
  const { shades, titles, document } = cells({
    values: [
      [1, 4],
      [null, 0],
    ],
  });
  expect(shades.map(([fill]) => fill)).toEqual(['var(--cold)', 'var(--cold)', 'var(--cold)']);
  for (const [i, share] of [0.25, 1, 0].entries()) expect(shades[i]![1]).toBeCloseTo(0.82 * share, 6);
  expect(titles).toEqual(['q_proj, 0: 1', 'q_proj, 1: 4', 'v_proj, 1: 0']);
  const texts = [...document.querySelectorAll('text')].map((text) => text.textContent);
  expect(texts).toEqual(expect.arrayContaining(['1', '4', '0', 'q_proj', 'v_proj']));
});

it('shades ratios from 1 in both directions, a half as strong as a double', () => {
  const { shades } = cells({
    scale: 'ratio',
    values: [
      [0.5, 2],
      [1, 4],
    ],
  });
  expect(shades.map(([fill]) => fill)).toEqual(['var(--cold)', 'var(--warm)', 'var(--warm)', 'var(--warm)']);
  for (const [i, share] of [0.5, 0.5, 0, 1].entries()) expect(shades[i]![1]).toBeCloseTo(0.82 * share, 6);
});

it('stays finite where all is 0 or nothing is known, and small with many cells', () => {
  expect(heatPlot({ label: '', rows: ['a'], columns: ['0'], values: [[0]], scale: 'ratio' }).markup).not.toMatch(
    /NaN|Infinity/,
  );
  expect(heatPlot({ label: '', rows: ['a'], columns: ['0'], values: [[null]], scale: 'amount' }).markup).not.toMatch(
    /NaN|Infinity/,
  );
  const columns = Array.from({ length: 500 }, (_, i) => `${i}`);
  const groups = [{ name: 'q_proj', from: 0, to: 499 }];
  const many = heatPlot({ label: '', rows: ['a'], columns, groups, values: [columns.map(Number)], scale: 'amount' });
  expect(many.markup).not.toContain('<title>');
  expect(many.markup).toContain('>q_proj<');
});

it('writes numbers with three digits', () => {
  expect([0, 0.0123456, 0.5, 12.345, 4096, 123456, 0.00001234].map(amount)).toEqual([
    '0',
    '0.0123',
    '0.5',
    '12.3',
    '4096',
    '1.2e+5',
    '1.2e-5',
  ]);
});
