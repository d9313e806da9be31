import * as Plot from '@observablehq/plot';
import { placedRounds, stageSpans, type PlacedRound } from '../facts.ts';
import { loss } from '../format.ts';
import { html, type Markup } from '../markup.ts';
import { methodColor } from '../palette.ts';
import { draw, fit, narrowWidth, responsive } from '../svg.ts';
import type { MethodSummary, Summary } from '../summary.ts';

interface Point {
  readonly at: number;
  readonly value: number;
}

type Span = ReturnType<typeof stageSpans>[number];

interface Line {
  readonly color: string;
  readonly method: MethodSummary;
  readonly rounds: readonly PlacedRound[];
}

/** A panel per method: validation loss in its colour, training loss dotted, its stages as bands, the other methods in grey. */
export function roundsPlot(summary: Summary): Markup {
  const lines = summary.methods.map((method, i) => ({ color: methodColor(i), method, rounds: placedRounds(method) }));
  const drawn = lines.filter((line) =>
    line.rounds.some(({ train, validation }) => train !== undefined || validation !== undefined),
  );
  if (drawn.length === 1) return responsive((width) => panel(drawn[0]!, drawn, width, width > narrowWidth ? 300 : 240));
  const width = drawn.length === 2 || drawn.length === 4 ? 460 : 300;
  const style = `--min:${width === 460 ? 24 : 17}rem`;
  return html`<div class="panels" style="${style}">
    ${drawn.map(
      (line) =>
        html`<div>
          <h3><span class="swatch" style="background:${line.color}"></span>${line.method.label}</h3>
          ${panel(line, drawn, width, width === 460 ? 250 : 210)}
        </div>`,
    )}
  </div>`;
}

/** All losses of all panels, so that they share one scale; the lowest and highest with some air. */
function domainOf(lines: readonly Line[]): [number, number] {
  const values = lines.flatMap((line) =>
    [...points(line, 'train'), ...points(line, 'validation')].map(({ value }) => value),
  );
  const low = Math.min(...values);
  const high = Math.max(...values);
  const air = (high - low || 1) * 0.06;
  return [Math.max(0, low - 2.4 * air), high + air];
}

function points(line: Line, what: 'train' | 'validation'): Point[] {
  return line.rounds.flatMap((round) => {
    const value = round[what];
    return value === undefined ? [] : [{ at: round.at, value }];
  });
}

function panel(line: Line, all: readonly Line[], width: number, height: number): Markup {
  const spans = stageSpans(line.method);
  const last = Math.max(...all.flatMap((other) => other.rounds.map((round) => round.at)));
  const own = points(line, 'validation');
  const train = points(line, 'train');
  const marginLeft = 36;
  const scale = (width - marginLeft - 12) / last;
  // A short last stage writes its name leftwards from the frame's end.
  const roomOf = (span: Span) => ((spans.at(-1) === span ? last + 0.5 : span.to) - span.from) * scale;
  const squeezed = (span: Span) => spans.at(-1) === span && roomOf(span) < 34;
  const stageNames = (some: readonly Span[], textAnchor: 'start' | 'end') =>
    Plot.text(some, {
      x: textAnchor === 'start' ? 'from' : 'to',
      frameAnchor: 'top',
      dy: -14,
      textAnchor,
      text: (span: Span) =>
        textAnchor === 'end' ? span.name : roomOf(span) < 26 ? '' : fit(span.name, roomOf(span) - 4),
      fill: 'var(--muted)',
      fontSize: 11,
    });
  const others = all
    .filter((other) => other !== line)
    .flatMap((other, z) => points(other, 'validation').map((point) => ({ ...point, z })));
  const end = (own.length > 0 ? own : train).slice(-1);
  const late = (end[0]?.at ?? 0) > last * 0.85;
  // Beside a first and only point the axis has its numbers.
  const early = !late && (end[0]?.at ?? last) < last * 0.12;
  const options: Plot.PlotOptions = {
    width,
    height,
    marginLeft,
    marginRight: 12,
    marginTop: 24,
    marginBottom: 34,
    x: {
      domain: [0.5, last + 0.5],
      label: null,
      ticks: ticksOf(last, width),
      tickSize: 0,
      tickFormat: (at: number) => `${at}`,
    },
    y: { domain: domainOf(all), label: null, ticks: 5, tickSize: 0, grid: true },
    marks: [
      Plot.rect(
        spans.filter((_, i) => i % 2 === 0),
        { x1: 'from', x2: 'to', fill: 'currentColor', fillOpacity: 0.045 },
      ),
      stageNames(
        spans.filter((span) => !squeezed(span)),
        'start',
      ),
      stageNames(spans.filter(squeezed), 'end'),
      Plot.line(others, { x: 'at', y: 'value', z: 'z', stroke: 'var(--muted)', strokeOpacity: 0.32, strokeWidth: 1.2 }),
      Plot.line(train, { x: 'at', y: 'value', stroke: line.color, strokeWidth: 1.3, strokeDasharray: '1.5,3' }),
      Plot.dot(train.slice(-1), { x: 'at', y: 'value', r: 2.4, stroke: line.color, fill: 'var(--page)' }),
      Plot.line(own, { x: 'at', y: 'value', stroke: line.color, strokeWidth: 2.2 }),
      Plot.dot(own.slice(-1), { x: 'at', y: 'value', r: 3.4, fill: line.color }),
      Plot.text(end, {
        x: 'at',
        y: 'value',
        text: (point: Point) => loss(point.value),
        dy: 13,
        dx: late ? 3 : early ? -3 : 0,
        textAnchor: late ? 'end' : early ? 'start' : 'middle',
        fontWeight: own.length > 0 ? 600 : 400,
        stroke: 'var(--page)',
        strokeWidth: 4,
        fill: 'currentColor',
      }),
    ],
  };
  return draw(options, `Loss per round of ${line.method.label}${end[0] ? `, ending at ${loss(end[0].value)}` : ''}`);
}

/** Whole rounds, at most about one label per 45 px. */
function ticksOf(last: number, width: number): number[] {
  const most = Math.max(2, Math.floor(width / 45));
  const step = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000].find((candidate) => last / candidate <= most) ?? last;
  const ticks = Array.from({ length: Math.floor(last / step) }, (_, i) => (i + 1) * step);
  return step <= 2 ? ticks : [1, ...ticks];
}
