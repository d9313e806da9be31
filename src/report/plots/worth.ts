import * as Plot from '@observablehq/plot';
import { loss } from '../format.ts';
import { responsive, draw, fit } from '../svg.ts';
import type { Markup } from '../markup.ts';
import { methodColor } from '../palette.ts';
import type { MethodSummary, Summary } from '../summary.ts';
import { sharesModel } from '../facts.ts';

interface Bar {
  readonly y: number;
  readonly value: number;
  readonly text: string;
  readonly color: string;
  readonly opacity: number;
}

const barHeight = 15;
const rowHeight = 21;
const blockGap = 17;
const labelHeight = 21;

/** Bars from zero for each method's global and personal adapter, with the base model as a line. Mean over clients. */
export const worthPlot = (summary: Summary): Markup => responsive((width) => atWidth(summary, width));

function barsOf(method: MethodSummary, color: string, top: number): Bar[] {
  const bars: Bar[] = [];
  const add = (value: number, kind: string, opacity: number) =>
    bars.push({ y: top + bars.length * rowHeight, value, text: `${loss(value)} ${kind}`, color, opacity });
  if (sharesModel(method)) add(method.global.macro.loss, 'global', 0.42);
  if (method.personal) add(method.personal.macro.loss, 'personal', 1);
  return bars;
}

function atWidth(summary: Summary, width: number): Markup {
  const base = summary.base.macro.loss;
  const bars: Bar[] = [];
  const labels: { readonly y: number; readonly text: string }[] = [];
  let top = 24;
  for (const [i, method] of summary.methods.entries()) {
    labels.push({ y: top + 8, text: fit(method.label, width - 10) });
    const own = barsOf(method, methodColor(i), top + labelHeight);
    bars.push(...own);
    top += labelHeight + own.length * rowHeight + blockGap;
  }
  const height = top - blockGap + 6;
  const highest = Math.max(base, ...bars.map((bar) => bar.value));
  const options: Plot.PlotOptions = {
    width,
    height,
    margin: 0,
    marginRight: 104,
    x: { domain: [0, highest], axis: null },
    y: { type: 'identity', axis: null },
    marks: [
      Plot.ruleX([base], { y1: 16, y2: height, stroke: 'var(--muted)', strokeDasharray: '2,3' }),
      Plot.text([base], {
        x: (value: number) => value,
        y: 7,
        text: () => `base ${loss(base)}`,
        textAnchor: base > highest * 0.75 ? 'end' : 'start',
        dx: base > highest * 0.75 ? 4 : -2,
        fill: 'var(--muted)',
      }),
      Plot.rect(bars, {
        x1: 0,
        x2: 'value',
        y1: 'y',
        y2: (bar: Bar) => bar.y + barHeight,
        fill: 'color',
        fillOpacity: 'opacity',
        rx: 2,
      }),
      Plot.text(bars, {
        x: 'value',
        y: (bar: Bar) => bar.y + barHeight / 2,
        text: 'text',
        textAnchor: 'start',
        dx: 6,
        fill: 'currentColor',
        stroke: 'var(--page)',
        strokeWidth: 4,
      }),
      Plot.text(labels, { frameAnchor: 'left', y: 'y', text: 'text', textAnchor: 'start', fontWeight: 600 }),
    ],
    color: { type: 'identity' },
    opacity: { type: 'identity' },
  };
  return draw(options, 'Bars: mean test loss over clients of each method, global and personal, beside the base model');
}
