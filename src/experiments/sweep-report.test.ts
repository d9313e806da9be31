import { parseHTML } from 'linkedom';
import { describe, expect, it } from 'vitest';
import { sweepFixture } from '../../tests/sweep-fixture.ts';
import type { SweepResults } from './results.ts';
import { renderSweepReport } from './sweep-report.ts';
import { sweepText } from './sweep-table.ts';

const shapes: readonly [string, SweepResults][] = [
  ['five arms and seeds', sweepFixture()],
  [
    'twelve arms, three seeds, thirty clients',
    sweepFixture({ methods: 12, seeds: [1, 2, 3], clients: 30, mixed: true }),
  ],
  ['one seed', sweepFixture({ seeds: [1] })],
  ['one client', sweepFixture({ clients: 1, generate: false, matrix: false })],
  ['a baseline alone', sweepFixture({ methods: 1 })],
  ['nothing done yet', { ...sweepFixture(), cells: [] }],
];

describe.each(shapes)('a report of %s', (_, results) => {
  const page = renderSweepReport(results, { config: 'seeds: [1]' });
  const { document } = parseHTML(page);

  it('asks for nothing beyond itself, runs no script and holds no NaN or undefined', () => {
    expect(document.querySelectorAll('script, link, img, iframe, object, embed, form, base').length).toBe(0);
    expect(page).not.toMatch(/https?:|url\(|@import|\bsrc=|javascript:|NaN|undefined|\[object|Infinity/);
  });

  it('names every arm, and its contents lead somewhere', () => {
    const ids = [...document.querySelectorAll('[id]')].map(({ id }) => id);
    expect(new Set(ids).size).toBe(ids.length);
    for (const link of document.querySelectorAll('nav a')) expect(ids).toContain(link.getAttribute('href')!.slice(1));
    for (const { label } of results.arms) expect(document.body.textContent).toContain(label);
  });

  it('has a table for the terminal without NaN', () => {
    expect(sweepText(results)).not.toMatch(/NaN|undefined|Infinity/);
  });
});

describe('what a report says', () => {
  const textOf = (results: SweepResults) =>
    parseHTML(renderSweepReport(results)).document.body.textContent.replace(/\s+/g, ' ');
  const results = sweepFixture();
  /** Every cell of an arm as the baseline's of that seed, its losses times a factor by seed. */
  const like = (label: string, factor: (seed: number) => number): SweepResults => ({
    ...results,
    arms: results.arms.filter((arm) => arm.label === label || arm.label === results.baseline),
    cells: results.cells.flatMap((cell) => {
      if (cell.arm === results.baseline) return [cell];
      if (cell.arm !== label) return [];
      const { method } = results.cells.find((one) => one.arm === results.baseline && one.seed === cell.seed)!;
      const clients = Object.fromEntries(
        Object.entries(method.global.clients).map(([id, score]) => [
          id,
          { ...score, loss: score.loss * factor(cell.seed) },
        ]),
      );
      return [{ ...cell, method: { ...method, label, global: { ...method.global, clients } } }];
    }),
  });

  it('is that an arm cannot be told apart, better or worse, in plain words', () => {
    const arm = 'FedLoRA-Optimizer';
    const heads = [(seed: number) => 1 + 0.1 * (seed - 3), () => 0.9, () => 1.1, () => 1].map(
      (factor) => parseHTML(renderSweepReport(like(arm, factor))).document.querySelector('h1')!.textContent,
    );
    expect(heads).toEqual([
      `${arm} cannot be told apart from FedIT`,
      `${arm} is better than FedIT`,
      `${arm} is worse than FedIT`,
      `${arm} cannot be told apart from FedIT`,
    ]);
    expect(textOf(like(arm, () => 1))).toContain(
      `${arm} cannot be told apart from FedIT: to three digits the same as FedIT (95 % interval`,
    );
  });

  it('is descriptive in words at three seeds, and nothing at one', () => {
    const three = sweepFixture({ seeds: [1, 2, 3] });
    expect(textOf(three)).toContain('with 3 seeds this is descriptive');
    expect(textOf(three)).toContain('Too few seeds for a claim about 4 other arms against FedIT');
    expect(textOf(sweepFixture({ seeds: [1] }))).toContain(
      'with one seed. There is no interval, and nothing follows from it.',
    );
  });

  it('says so where only the correction keeps an interval from being a claim', () => {
    const noise = [0.95, 0.96, 0.999, 0.97, 0.985];
    const one = like('FedLoRA-Optimizer', (seed) => noise[seed - 1]!);
    const twice = (label: string) => ({ ...one.arms[0]!, label });
    const copies = ['x', 'y', 'z', 'u', 'v', 'w'].flatMap((arm) =>
      one.cells.filter((cell) => cell.arm !== one.baseline).map((cell) => ({ ...cell, arm })),
    );
    expect(textOf(one)).toContain('FedLoRA-Optimizer is better than FedIT');
    const many = {
      ...one,
      arms: [...one.arms, ...['x', 'y', 'z', 'u', 'v', 'w'].map(twice)],
      cells: [...one.cells, ...copies],
    };
    expect(textOf(many)).toContain('None of 7 other arms can be told apart from FedIT');
    expect(textOf(many)).toContain('The interval alone leaves out 0');
  });

  it('shows tries, costs and new clients', () => {
    const cells = results.cells.map((cell) => ({
      ...cell,
      method: { ...cell.method, newClients: { global: cell.base, labelledTokens: 0 } },
    }));
    const text = textOf({ ...results, cells });
    expect(text).toContain('rate 0.003');
    expect(text).toContain('New clients took part in no round');
    expect(text).toContain('Tuning budget (values tried): the same in every arm.');
    const told = results.cells.map((cell) => ({
      ...cell,
      method: { ...cell.method, privacy: { epsilon: 1, delta: 1e-5, accountant: 'rdp' as const } },
    }));
    expect(textOf({ ...results, cells: told })).toContain('not known for FedLoRA-Optimizer, FedIT');
  });
});

it('keeps hostile names as text', () => {
  const labels = ['<script>alert(1)</script>', '"><img src=x onerror=alert(1)>', '</title><svg onload=alert(1)>'];
  const results = sweepFixture({ methods: 3, labels, names: [...labels, 'a\u0000b', "' onload='x"], clients: 5 });
  const tried = results.arms.map((arm) => ({
    ...arm,
    tried: arm.tried.map((one) => ({ ...one, options: { [labels[1]!]: labels[0] } })),
  }));
  const page = renderSweepReport({ ...results, arms: tried }, { config: labels.join('\n') });
  const { document } = parseHTML(page);
  expect(page).not.toMatch(/<script|<img/);
  // oxlint-disable-next-line no-control-regex -- they must not occur
  expect(page).not.toMatch(/[\x00-\x08\x0b\x0e-\x1f]/);
  for (const element of document.querySelectorAll('*')) {
    for (const { name } of element.attributes) expect(name).not.toMatch(/^on/);
  }
  expect([...document.querySelectorAll('#table tbody th')].slice(0, 3).map((cell) => cell.textContent)).toEqual(labels);
});
