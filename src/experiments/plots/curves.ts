import * as Plot from '@observablehq/plot';
import { loss } from '../../report/format.ts';
import { html, type Markup } from '../../report/markup.ts';
import { methodColor, swatch } from '../../report/palette.ts';
import { draw } from '../../report/svg.ts';
import type { ArmCurve, CurvePoint } from '../convergence.ts';

const width = 300;

/** A panel per arm: the mean validation loss over seeds, the range over seeds as a band, the other arms in grey. */
export function curvesPlot(curves: readonly ArmCurve[], order: readonly string[]): Markup {
  return html`<div class="panels">
    ${curves.map(
      (curve) =>
        html`<div>
          <h3>${swatch(order.indexOf(curve.label))}${curve.label}</h3>
          ${panel(curve, curves, methodColor(order.indexOf(curve.label)))}
        </div>`,
    )}
  </div>`;
}

function panel(curve: ArmCurve, all: readonly ArmCurve[], color: string): Markup {
  const { points } = curve;
  const every = all.flatMap((one) => one.points);
  const last = Math.max(...every.map(({ round }) => round));
  const [low, high] = [Math.min(...every.map((point) => point.low)), Math.max(...every.map((point) => point.high))];
  const air = (high - low || 1) * 0.06;
  const others = all.filter((one) => one !== curve).flatMap((one, z) => one.points.map((point) => ({ ...point, z })));
  const turns = points.filter((point, i) => i > 0 && point.stage !== points[i - 1]!.stage);
  const end = points.slice(-1);
  const late = (end[0]?.round ?? 0) > 0.85 * last;
  const options: Plot.PlotOptions = {
    width,
    height: 210,
    marginLeft: 36,
    marginRight: 12,
    marginTop: 10,
    marginBottom: 26,
    x: {
      domain: [0.5, last + 0.5],
      label: null,
      ticks: 6,
      tickSize: 0,
      tickFormat: (at: number) => (Number.isInteger(at) ? `${at}` : ''),
    },
    y: { domain: [Math.max(0, low - 2.4 * air), high + air], label: null, ticks: 5, tickSize: 0, grid: true },
    marks: [
      // More turns than this are stages that alternate: lines would hide the curve.
      ...(turns.length <= 4
        ? [
            Plot.ruleX(turns, {
              x: (point: CurvePoint) => point.round - 0.5,
              stroke: 'var(--muted)',
              strokeDasharray: '2,3',
            }),
          ]
        : []),
      Plot.line(others, {
        x: 'round',
        y: 'mean',
        z: 'z',
        stroke: 'var(--muted)',
        strokeOpacity: 0.32,
        strokeWidth: 1.2,
      }),
      Plot.areaY(points, { x: 'round', y1: 'low', y2: 'high', fill: color, fillOpacity: 0.22 }),
      Plot.line(points, { x: 'round', y: 'mean', stroke: color, strokeWidth: 2.2 }),
      Plot.dot(end, { x: 'round', y: 'mean', r: 3.4, fill: color }),
      Plot.text(end, {
        x: 'round',
        y: 'mean',
        text: (point: CurvePoint) => loss(point.mean),
        dy: 13,
        dx: late ? 3 : 0,
        textAnchor: late ? 'end' : 'middle',
        fontWeight: 600,
        stroke: 'var(--page)',
        strokeWidth: 4,
        fill: 'currentColor',
      }),
    ],
  };
  return draw(
    options,
    `Validation loss per round of ${curve.label}, mean over ${curve.seeds} seeds${end[0] ? `, ending at ${loss(end[0].mean)}` : ''}`,
  );
}
