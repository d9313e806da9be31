import * as Plot from '@observablehq/plot';
import type { Markup } from '../../report/markup.ts';
import { methodColor } from '../../report/palette.ts';
import { draw, fitEnds, narrowWidth, responsive, textWidth } from '../../report/svg.ts';
import type { Comparison } from '../compare-arms.ts';
import { comparisonName, signed } from '../words.ts';

interface Dot {
  readonly y: number;
  readonly client: string;
  readonly label: string;
  readonly value: number;
}

const rowHeight = 34;

/** A row per arm, a dot per client: its difference from the baseline, mean over seeds; a bar at the mean of all. */
export const clientDifferencesPlot = (comparison: Comparison, baseline: string, order: readonly string[]): Markup =>
  responsive((width) => {
    const { differences, metric } = comparison;
    const rows = differences.map(({ label, mean }, y) => ({
      label,
      mean,
      y,
      color: methodColor(order.indexOf(label)),
    }));
    const dots = differences.flatMap(({ label, perClient }, y): Dot[] =>
      perClient.map(({ client, value }) => ({ y, client, label, value })),
    );
    const room =
      width === narrowWidth ? 92 : Math.min(240, Math.max(...rows.map(({ label }) => textWidth(label))) + 18);
    const ends = [0, ...dots.map(({ value }) => value)];
    const air = (Math.max(...ends) - Math.min(...ends) || 1) * 0.04;
    const bad = (value: number) => (metric === 'loss' ? value > 0 : value < 0);
    return draw(
      {
        width,
        height: rows.length * rowHeight + 36,
        marginLeft: room,
        marginRight: 8,
        marginTop: 6,
        marginBottom: 28,
        x: {
          domain: [Math.min(...ends) - air, Math.max(...ends) + air],
          label: null,
          ticks: width === narrowWidth ? 4 : 8,
          tickSize: 0,
          grid: true,
        },
        y: { domain: [-0.5, rows.length - 0.5], reverse: true, axis: null },
        marks: [
          Plot.ruleX([0], { stroke: 'currentColor', strokeWidth: 1.2 }),
          Plot.dot(dots, {
            x: 'value',
            y: 'y',
            r: 4,
            fill: ({ value, y }: Dot) => (bad(value) ? 'var(--worse)' : rows[y]!.color),
            fillOpacity: 0.6,
            title: ({ label, client, value }: Dot) => `${label}, ${client}: ${signed(metric, value)}`,
          }),
          Plot.ruleX(rows, {
            x: 'mean',
            y1: ({ y }: (typeof rows)[number]) => y - 0.3,
            y2: ({ y }: (typeof rows)[number]) => y + 0.3,
            stroke: 'currentColor',
            strokeWidth: 2,
          }),
          Plot.text(rows, {
            frameAnchor: 'left',
            y: 'y',
            dx: -room,
            textAnchor: 'start',
            text: ({ label }: (typeof rows)[number]) => fitEnds(label, room - 8),
          }),
        ],
        color: { type: 'identity' },
      },
      `Differences in ${comparisonName(comparison)} from ${baseline}, client by client`,
    );
  });
