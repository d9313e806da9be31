import * as Plot from '@observablehq/plot';
import { trafficPerClient } from '../facts.ts';
import { bytes } from '../format.ts';
import type { Markup } from '../markup.ts';
import { methodColor } from '../palette.ts';
import { draw, fit, responsive } from '../svg.ts';
import type { MethodFacts } from '../summary.ts';

type Methods = { readonly methods: readonly MethodFacts[] };

/** Bytes per client that a method sends up and down over the whole run, mean over clients. */
export const trafficPlot = (summary: Methods): Markup => responsive((width) => atWidth(summary, width));

function atWidth(summary: Methods, width: number): Markup {
  const labels: { readonly y: number; readonly text: string }[] = [];
  const bars: {
    readonly y: number;
    readonly value: number;
    readonly text: string;
    readonly color: string;
    readonly opacity: number;
  }[] = [];
  let top = 0;
  for (const [i, method] of summary.methods.entries()) {
    const traffic = trafficPerClient(method);
    labels.push({ y: top + 8, text: fit(traffic ? method.label : `${method.label}: nothing sent`, width - 8) });
    top += 20;
    if (traffic) {
      const color = methodColor(i);
      bars.push({ y: top, value: traffic.up, text: `${bytes(traffic.up)} up`, color, opacity: 1 });
      bars.push({ y: top + 17, value: traffic.down, text: `${bytes(traffic.down)} down`, color, opacity: 0.42 });
      top += 34;
    }
    top += 12;
  }
  return draw(
    {
      width,
      height: Math.max(20, top - 8),
      margin: 0,
      marginRight: 104,
      x: { domain: [0, Math.max(1, ...bars.map(({ value }) => value))], axis: null },
      y: { type: 'identity', axis: null },
      color: { type: 'identity' },
      opacity: { type: 'identity' },
      marks: [
        Plot.rect(bars, {
          x1: 0,
          x2: 'value',
          y1: 'y',
          y2: ({ y }: (typeof bars)[number]) => y + 12,
          fill: 'color',
          fillOpacity: 'opacity',
          rx: 2,
        }),
        Plot.text(bars, {
          x: 'value',
          y: ({ y }: (typeof bars)[number]) => y + 6,
          text: 'text',
          textAnchor: 'start',
          dx: 6,
        }),
        Plot.text(labels, { frameAnchor: 'left', y: 'y', text: 'text', textAnchor: 'start', fontWeight: 600 }),
      ],
    },
    'Bytes sent and received per client by each method',
  );
}
