import * as Plot from '@observablehq/plot';
import { draw } from '../src/report/svg.ts';

/** The arms of docs/results/embedded-long.csv that the README shows, and what they are called there. */
const arms: readonly (readonly [arm: string, name: string])[] = [
  ['local only', 'local only'],
  ['FLO column', 'FedLoRA-Optimizer (column)'],
  ['FLO row', 'FedLoRA-Optimizer (row)'],
  ['FedIT', 'FedIT'],
  ['FedIT + local fine-tuning', 'FedIT + local fine-tuning'],
  ['FLO row average of factors', 'FedLoRA-Optimizer (row, average of factors)'],
  ['centralised', 'centralised: all rows in one place'],
];

interface Mark {
  readonly name: string;
  readonly model: string;
  readonly mean: number;
  readonly sd: number;
}

/** Mean over clients, then mean and standard deviation over seeds, of the test loss of each arm's global and personal models. */
export function marksOf(csv: string): Mark[] {
  const rows = csv
    .trim()
    .split('\n')
    .map((line) => line.split(','));
  return arms.flatMap(([arm, name]) =>
    ['global', 'personal'].flatMap((model) => {
      const seeds = new Map<string, number[]>();
      for (const [of, , seed, , kind, metric, value] of rows)
        if (of === arm && kind === model && metric === 'loss')
          seeds.set(seed!, [...(seeds.get(seed!) ?? []), Number(value)]);
      if (seeds.size === 0) return [];
      const losses = [...seeds.values()].map((values) => values.reduce((a, b) => a + b, 0) / values.length);
      const mean = losses.reduce((a, b) => a + b, 0) / losses.length;
      const sd = Math.sqrt(losses.reduce((sum, loss) => sum + (loss - mean) ** 2, 0) / (losses.length - 1));
      return [{ name, model, mean, sd }];
    }),
  );
}

/** docs/images/results.svg, from the sweep's own numbers: readable on light pages and on dark ones. */
export function resultsFigure(csv: string): string {
  const marks = marksOf(csv);
  const at = ({ name, model }: Mark): number =>
    arms.findIndex((arm) => arm[1] === name) + (model === 'global' ? -0.17 : 0.17);
  const blue = '#2f6fde';
  const orange = '#d1651a';
  const color = ({ model }: Mark): string => (model === 'global' ? blue : orange);
  const figure = draw(
    {
      width: 820,
      height: 300,
      marginLeft: 280,
      marginRight: 60,
      marginTop: 30,
      marginBottom: 28,
      x: { domain: [0.92, 1.7], label: null, ticks: 8, tickSize: 0, grid: true },
      y: { domain: [-0.5, arms.length - 0.5], reverse: true, axis: null },
      color: { type: 'identity' },
      marks: [
        Plot.text(arms, { frameAnchor: 'left', dx: -268, y: (_, i: number) => i, text: '1', textAnchor: 'start' }),
        Plot.ruleY(marks, {
          y: at,
          x1: ({ mean, sd }: Mark) => mean - sd,
          x2: ({ mean, sd }: Mark) => mean + sd,
          stroke: color,
          strokeWidth: 2,
          strokeOpacity: 0.5,
        }),
        Plot.dot(marks, { x: 'mean', y: at, r: 4.5, fill: color }),
        Plot.text(marks, {
          x: ({ mean, sd }: Mark) => mean + sd,
          y: at,
          dx: 7,
          textAnchor: 'start',
          text: ({ mean }: Mark) => mean.toFixed(3),
          fill: color,
        }),
        Plot.text(['● one model for everybody'], {
          frameAnchor: 'top-left',
          dy: -22,
          textAnchor: 'start',
          text: String,
          fill: blue,
        }),
        Plot.text(['● each client’s own model'], {
          frameAnchor: 'top-left',
          dy: -22,
          dx: 190,
          textAnchor: 'start',
          text: String,
          fill: orange,
        }),
      ],
    },
    'Test loss of seven methods on the embedded desks, means over ten seeds; the table has the same numbers',
  ).markup;
  const style = 'svg{background:#fff;color:#1b1f24;font:12px system-ui,sans-serif}';
  return `${figure
    .replace('<svg ', () => '<svg xmlns="http://www.w3.org/2000/svg" ')
    .replace('>', () => `><style>${style}</style><rect width="100%" height="100%" fill="#fff"/>`)}\n`;
}
