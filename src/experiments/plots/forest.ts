import * as Plot from '@observablehq/plot';
import type { Markup } from '../../report/markup.ts';
import { methodColor } from '../../report/palette.ts';
import { draw, fitEnds, narrowWidth, responsive, textWidth } from '../../report/svg.ts';
import type { Comparison, Difference, SweepAnalysis } from '../compare-arms.ts';
import { comparisonName, interval, signed } from '../words.ts';

const rowHeight = 40;

interface Row {
  readonly one: Difference;
  readonly y: number;
  readonly color: string;
}

/**
 * A row per arm: its difference from the baseline with the t interval over seeds (thick) and the bootstrap over clients (thin,
 * below). Filled dots are claims, rings are not. `order` are all arms' labels, for their colours.
 */
export const forestPlot = (comparison: Comparison, analysis: SweepAnalysis, order: readonly string[]): Markup =>
  responsive((width) => atWidth(comparison, analysis.baseline, order, width));

function atWidth(comparison: Comparison, baseline: string, order: readonly string[], width: number): Markup {
  const { metric } = comparison;
  const rows = comparison.differences.map((one, i): Row => ({
    one,
    y: i,
    color: methodColor(order.indexOf(one.label)),
  }));
  const narrow = width === narrowWidth;
  const room = narrow ? 92 : Math.min(240, Math.max(...rows.map(({ one }) => textWidth(one.label))) + 18);
  const numbers = narrow ? 52 : 190;
  const ends = rows.flatMap(({ one: { mean, overSeeds, overClients } }) =>
    [mean, overSeeds?.low, overSeeds?.high, overClients?.low, overClients?.high].filter((end) => end !== undefined),
  );
  const [low, high] = [Math.min(0, ...ends), Math.max(0, ...ends)];
  const air = (high - low || 1) * 0.05;
  const seeds = rows.filter(({ one }) => one.overSeeds);
  const clients = rows.filter(({ one }) => one.overClients);
  const claimed = ({ one }: Row) => one.verdict === 'better' || one.verdict === 'worse';
  const text = ({ one }: Row) =>
    narrow ? signed(metric, one.mean) : `${signed(metric, one.mean)}  ${interval(metric, one.overSeeds)}`;
  const lower = metric === 'loss' ? 'better' : 'worse';
  const options: Plot.PlotOptions = {
    width,
    height: rows.length * rowHeight + 58,
    marginLeft: room,
    marginRight: numbers,
    marginTop: 26,
    marginBottom: 32,
    x: {
      domain: [low - air, high + air],
      label: null,
      ticks: narrow ? 3 : 6,
      tickSize: 0,
      grid: true,
      tickFormat: (value: number) =>
        String(Number((metric === 'loss' ? value : 100 * value).toFixed(6))).replace('-', '−'),
    },
    y: { domain: [-0.5, rows.length - 0.5], reverse: true, axis: null },
    marks: [
      Plot.ruleX([0], { stroke: 'currentColor', strokeWidth: 1.2 }),
      Plot.text([`← ${lower}`], {
        x: 0,
        frameAnchor: 'top',
        dy: -14,
        dx: -7,
        textAnchor: 'end',
        text: (text: string) => text,
        fill: 'var(--muted)',
      }),
      Plot.text([`${lower === 'better' ? 'worse' : 'better'} →`], {
        x: 0,
        frameAnchor: 'top',
        dy: -14,
        dx: 7,
        textAnchor: 'start',
        text: (text: string) => text,
        fill: 'var(--muted)',
      }),
      Plot.ruleY(clients, {
        y: ({ y }: Row) => y + 0.2,
        x1: ({ one }: Row) => one.overClients!.low,
        x2: ({ one }: Row) => one.overClients!.high,
        stroke: 'color',
        strokeWidth: 1.3,
        strokeDasharray: '2,2',
        title: ({ one }: Row) => `${one.label}, over clients: ${interval(metric, one.overClients)}`,
      }),
      Plot.ruleY(seeds, {
        y: 'y',
        x1: ({ one }: Row) => one.overSeeds!.low,
        x2: ({ one }: Row) => one.overSeeds!.high,
        stroke: 'color',
        strokeWidth: 3.2,
        title: ({ one }: Row) => `${one.label}, over seeds: ${interval(metric, one.overSeeds)}`,
      }),
      Plot.dot(rows, {
        x: ({ one }: Row) => one.mean,
        y: 'y',
        r: 5,
        stroke: 'color',
        strokeWidth: 2,
        fill: (row: Row) => (claimed(row) ? row.color : 'var(--page)'),
      }),
      Plot.text(rows, {
        frameAnchor: 'left',
        y: 'y',
        dx: -room,
        textAnchor: 'start',
        text: ({ one }: Row) => fitEnds(one.label, room - 8),
      }),
      Plot.text(rows, { frameAnchor: 'right', y: 'y', dx: numbers, textAnchor: 'end', text }),
    ],
    color: { type: 'identity' },
  };
  return draw(options, `Differences in ${comparisonName(comparison)} from ${baseline}, with intervals`);
}
