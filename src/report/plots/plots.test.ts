import { parseHTML } from 'linkedom';
import { describe, expect, it } from 'vitest';
import { summaryFixture } from '../../../tests/summary-fixture.ts';
import { clientIds } from '../facts.ts';
import type { Markup } from '../markup.ts';
import type { PersonalScores, Summary } from '../summary.ts';
import { fit, fitEnds, textWidth } from '../svg.ts';
import { clientsPlot } from './clients.ts';
import { dataPlot } from './data.ts';
import { matrixPlot } from './matrix.ts';
import { roundsPlot } from './rounds.ts';
import { worthPlot } from './worth.ts';

const read = (markup: Markup) => parseHTML(`<!doctype html><html><body>${markup.markup}</body></html>`).document;

/** The only method of a run of three clients, with another matrix. */
function withMatrix(matrix: readonly (readonly number[])[], shares = true): Summary {
  const summary = summaryFixture({ methods: 1, clients: 3 });
  const [method] = summary.methods;
  const personal: PersonalScores = { ...method!.personal!, matrix };
  const stages = shares ? method!.stages : method!.stages.map((stage) => ({ ...stage, traffic: {} }));
  return { ...summary, methods: [{ ...method!, stages, personal }] };
}

const matrixOf = (summary: Summary) => matrixPlot(clientIds(summary), summary.methods);

describe('matrixPlot', () => {
  const colours = (summary: Summary) =>
    [...read(matrixOf(summary)!).querySelectorAll('rect')]
      .filter((rect) => rect.querySelector('title'))
      .map((rect) => [rect.getAttribute('fill'), Number(rect.getAttribute('fill-opacity'))] as const);

  it('colours by the difference from the global adapter on the same rows, stronger with its size', () => {
    const base = withMatrix([]);
    const global = base.data.clients.map(({ id }) => base.methods[0]!.global.clients[id]!.loss);
    const gaps = [
      [-0.4, 0.1, 0.2],
      [0.1, -0.2, 0.4],
      [0.3, 0.2, -0.1],
    ];
    const found = colours(withMatrix(gaps.map((row) => row.map((gap, j) => global[j]! + gap))));
    expect(found.map(([fill]) => fill)).toEqual(gaps.flat().map((gap) => (gap < 0 ? 'var(--cold)' : 'var(--warm)')));
    for (const [i, gap] of gaps.flat().entries()) expect(found[i]![1]).toBeCloseTo((0.82 * Math.abs(gap)) / 0.4, 6);
  });

  it('takes the mean of the column where nothing was shared', () => {
    const found = colours(
      withMatrix(
        [
          [1, 2, 3],
          [2, 1, 3],
          [3, 3, 0],
        ],
        false,
      ),
    );
    const gaps = [-1, 0, 1, 0, -1, 1, 1, 1, -2];
    for (const [i, gap] of gaps.entries()) expect(found[i]![1]).toBeCloseTo((0.82 * Math.abs(gap)) / 2, 6);
  });

  it('leaves out rows of clients without a model, and is not drawn beyond 200 clients', () => {
    expect(colours(withMatrix([[], [1, 2, 3], [2, 2, 2]])).length).toBe(6);
    expect(matrixOf(summaryFixture({ methods: 1, clients: 201 }))).toBeUndefined();
  });

  it('draws many clients as a few paths', () => {
    const document = read(matrixOf(summaryFixture({ methods: 1, clients: 100, mixed: true }))!);
    expect(document.querySelectorAll('rect').length).toBe(0);
    const paths = [...document.querySelectorAll('svg > path')];
    expect(paths.length).toBeLessThanOrEqual(10);
    const cells = paths.reduce((sum, path) => sum + path.getAttribute('d')!.split('z').length - 1, 0);
    expect(cells).toBeGreaterThan(5000);
    expect(cells).toBeLessThanOrEqual(100 * 100);
  });
});

it('draws bars whose lengths are proportional to losses', () => {
  const summary = summaryFixture({ methods: 2 });
  const wide = read(worthPlot(summary)).querySelector('.wide')!;
  const lengths = [...wide.querySelectorAll('rect')].map((rect) => Number(rect.getAttribute('width')));
  const [first, second] = summary.methods;
  const losses = [first!.global.macro.loss, first!.personal!.macro.loss, second!.global.macro.loss];
  expect(lengths.length).toBe(3);
  for (const [i, value] of losses.entries()) expect(lengths[i]! / lengths[0]!).toBeCloseTo(value / losses[0]!, 3);
  const base = Number(wide.querySelector('line')!.getAttribute('x1'));
  expect(lengths[0]! / base).toBeCloseTo(losses[0]! / summary.base.macro.loss, 2);
});

it('draws a learning curve that falls where the loss falls, and survives a run without validation', () => {
  const summary = summaryFixture({ methods: 2 });
  const [, panel] = read(roundsPlot(summary)).querySelectorAll('svg');
  const dots = [...panel!.querySelectorAll('circle')].map((dot) => Number(dot.getAttribute('cy') ?? 0));
  expect(dots.length).toBe(2);
  const [method] = summary.methods;
  const stages = method!.stages.map((stage) => ({
    ...stage,
    rounds: stage.rounds.map(({ round, clients, trainLoss, seconds }) => ({ round, clients, trainLoss, seconds })),
  }));
  const text = read(roundsPlot({ ...summary, methods: [{ ...method!, stages }] })).body.textContent;
  expect(text).toContain(method!.stages.at(-1)!.rounds.at(-1)!.trainLoss!.toFixed(3));
});

it('counts the clients that gain, and marks those that lose', () => {
  const summary = summaryFixture({ methods: 1, clients: 3 });
  const [method] = summary.methods;
  const first = summary.data.clients[0]!.id;
  const worse = { ...method!.personal!.clients[first]!, loss: method!.global.clients[first]!.loss + 1 };
  const clients = { ...method!.personal!.clients, [first]: worse };
  const changed = { ...summary, methods: [{ ...method!, personal: { ...method!.personal!, clients } }] };
  const document = read(clientsPlot(changed));
  expect(document.body.textContent).toContain('better for 2 of 3 clients');
  expect(document.querySelectorAll('circle[fill="var(--worse)"]').length).toBe(1);
});

it('shows rows as bars, mixtures as bubbles of that area, many clients as a distribution', () => {
  const plain = summaryFixture({ clients: 3 });
  const bars = [...read(dataPlot(plain)).querySelectorAll('.wide rect title')].map((title) => title.textContent);
  expect(bars[0]).toBe(`open_qa: ${plain.data.clients[0]!.train} train rows`);
  const mixed = summaryFixture({ clients: 5, mixed: true });
  const bubbles = [...read(dataPlot(mixed)).querySelectorAll('.wide circle')].map((bubble) => ({
    radius: Number(bubble.getAttribute('r')),
    rows: Number(/: (.+) rows/.exec(bubble.textContent)![1]!.replace('\u202f', '')),
  }));
  const most = bubbles.reduce((a, b) => (a.rows > b.rows ? a : b));
  for (const { radius, rows } of bubbles) expect(radius / most.radius).toBeCloseTo(Math.sqrt(rows / most.rows), 1);
  const many = read(dataPlot(summaryFixture({ clients: 60 })));
  expect(many.querySelectorAll('.wide rect').length).toBe(60);
});

it('cuts labels to their room', () => {
  expect(fit('short', 100)).toBe('short');
  const cut = fit('a name that is much too long', 80);
  expect(cut).toMatch(/^a name .*…$/);
  expect(textWidth(cut)).toBeLessThanOrEqual(80);
  expect(fit('日本語日本語', 40)).toBe('日本…');
});

it('names of one grid stay apart where they are cut in the middle', () => {
  expect(fitEnds('short', 100)).toBe('short');
  const [column, row] = ['ours (axis column)', 'ours (axis row)'].map((name) => fitEnds(name, 84));
  expect(column).toMatch(/^ours.*….*umn\)$/);
  expect(row).toMatch(/^ours.*….*row\)$/);
  for (const cut of [column!, row!]) expect(textWidth(cut)).toBeLessThanOrEqual(84);
});
