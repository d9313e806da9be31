import * as Plot from '@observablehq/plot';
import { sharesModel } from '../facts.ts';
import { html, type Markup } from '../markup.ts';
import { methodColor } from '../palette.ts';
import { draw, fit, textWidth } from '../svg.ts';
import type { MethodSummary } from '../summary.ts';

interface Cell {
  readonly i: number;
  readonly j: number;
  readonly loss: number;
  /** Loss less the global adapter's on the same rows. */
  readonly gap: number;
}

/** Beyond this many clients the matrix is not drawn. */
const drawnClients = 200;
const labelledClients = 24;
const numberedClients = 10;

/**
 * All cells of a method's matrix, row by row; a client without a personal model has none. The reference of a column is the
 * global adapter's loss on these rows, or the mean of the column where nothing was shared.
 */
function cellsOf(ids: readonly string[], method: MethodSummary): Cell[] {
  const rows = method.personal?.matrix ?? [];
  const references = ids.map((id, j) => {
    const column = rows.flatMap((row) => row[j] ?? []);
    const mean = column.reduce((sum, loss) => sum + loss, 0) / column.length;
    return sharesModel(method) ? (method.global.clients[id]?.loss ?? mean) : mean;
  });
  return rows.flatMap((row, i) => row.map((loss, j) => ({ i, j, loss, gap: loss - references[j]! })));
}

/** A heat map per method, in its place's colour: client i's personal model on client j's rows, coloured by the difference from the global adapter. */
export function matrixPlot(
  ids: readonly string[],
  methods: readonly (MethodSummary | undefined)[],
): Markup | undefined {
  const panels = methods
    .flatMap((method, i) => (method ? [{ method, color: methodColor(i), cells: cellsOf(ids, method) }] : []))
    .filter(({ cells }) => cells.length > 0);
  if (panels.length === 0 || ids.length > drawnClients) return undefined;
  const gaps = panels.flatMap(({ cells }) => cells.map(({ gap }) => Math.abs(gap))).toSorted((a, b) => a - b);
  // One client that fails badly must not bleach all others.
  const strongest = gaps[Math.ceil(0.97 * (gaps.length - 1))] || 1;
  return html`<p class="key"><span>better than the global adapter</span><span class="ramp"></span><span>worse</span></p>
    <div class="panels" style="--min:${panels.length === 1 ? 34 : 20}rem">
      ${panels.map(
        ({ method, color, cells }) =>
          html`<div>
            <h3><span class="swatch" style="background:${color}"></span>${method.label}</h3>
            ${heat(cells, ids, strongest, method.label)}
          </div>`,
      )}
    </div>`;
}

const panelWidth = 440;

function heat(cells: readonly Cell[], ids: readonly string[], strongest: number, label: string): Markup {
  const labelled = ids.length <= labelledClients;
  const room = labelled ? Math.min(124, Math.max(...ids.map(textWidth)) + 14) : 18;
  const size = (panelWidth - room - 2) / ids.length;
  const indices = ids.map((_, i) => i);
  const fontSize = ids.length > 14 ? 10 : 12;
  const axis = { domain: indices, label: null, tickSize: 0, padding: 0 };
  const name = (i: number) => fit(ids[i] ?? '', room - 12);
  const marks: Plot.Markish[] =
    ids.length > labelledClients
      ? shades(cells, strongest, (panelWidth - room - 2) / ids.length, room)
      : [
          Plot.cell(cells, {
            x: 'j',
            y: 'i',
            fill: ({ gap }: Cell) => (gap < 0 ? 'var(--cold)' : 'var(--warm)'),
            fillOpacity: ({ gap }: Cell) => strength(gap, strongest),
            inset: 0.75,
            rx: 2,
            title: ({ i, j, loss }: Cell) => `model of ${ids[i]} on rows of ${ids[j]}: ${loss.toFixed(3)}`,
          }),
          Plot.cell(
            cells.filter(({ i, j }) => i === j),
            { x: 'j', y: 'i', stroke: 'currentColor', fill: 'none', strokeWidth: 1.2, inset: 0.75, rx: 2 },
          ),
          ...(ids.length <= numberedClients
            ? [
                Plot.text(cells, {
                  x: 'j',
                  y: 'i',
                  text: ({ loss }: Cell) => loss.toFixed(2),
                  fontSize: size < 34 ? 10 : 12,
                  fill: 'currentColor',
                }),
              ]
            : []),
        ];
  return draw(
    {
      width: panelWidth,
      height: panelWidth,
      marginTop: room,
      marginLeft: room,
      marginRight: 2,
      marginBottom: 2,
      x: { ...axis, axis: null },
      y: { ...axis, axis: null },
      color: { type: 'identity' },
      opacity: { type: 'identity' },
      marks: [
        ...marks,
        ...(labelled
          ? [
              Plot.text(indices, {
                x: (i: number) => i,
                frameAnchor: 'top',
                dy: -7,
                rotate: -90,
                textAnchor: 'start',
                lineAnchor: 'middle',
                text: name,
                fontSize,
              }),
              Plot.axisY(indices, { tickSize: 0, tickFormat: name, fontSize }),
            ]
          : [
              Plot.text([`rows of ${ids.length} clients →`], {
                frameAnchor: 'top-left',
                dy: -13,
                text: (text: string) => text,
                fill: 'var(--muted)',
              }),
              Plot.text([`← models`], {
                frameAnchor: 'top-left',
                dx: -10,
                dy: 2,
                rotate: -90,
                textAnchor: 'end',
                text: (text: string) => text,
                fill: 'var(--muted)',
              }),
            ]),
      ],
    },
    `Loss of each client's personal model on each client's rows, with ${label}`,
  );
}

const strength = (gap: number, strongest: number): number => Math.min(1, Math.abs(gap) / strongest) * 0.82;

/** Ten shades, each one path over all its cells: thousands of cells stay a small file. */
function shades(cells: readonly Cell[], strongest: number, size: number, margin: number): Plot.Markish[] {
  const paths = new Map<number, string>();
  for (const { i, j, gap } of cells) {
    const level = Math.sign(gap) * Math.round(5 * Math.min(1, Math.abs(gap) / strongest));
    if (level === 0) continue;
    const at = (index: number) => (margin + index * size).toFixed(1);
    const side = size.toFixed(1);
    paths.set(level, `${paths.get(level) ?? ''}M${at(j)} ${at(i)}h${side}v${side}h-${side}z`);
  }
  return [...paths].map(([level, d]) => (_index, _scales, _channels, _dimensions, context) => {
    const path = context.document.createElementNS('http://www.w3.org/2000/svg', 'path');
    path.setAttribute('d', d);
    path.setAttribute('fill', level < 0 ? 'var(--cold)' : 'var(--warm)');
    path.setAttribute('fill-opacity', String((0.82 * Math.abs(level)) / 5));
    return path;
  });
}
