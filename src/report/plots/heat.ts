import * as Plot from '@observablehq/plot';
import type { Markup } from '../markup.ts';
import { draw, fit, textWidth } from '../svg.ts';

/** A matrix of numbers to be shaded. */
export interface Heat {
  /** What it shows, for a screen reader. */
  readonly label: string;
  readonly rows: readonly string[];
  readonly columns: readonly string[];
  /** Columns that belong together, named below them in place of their own names. */
  readonly groups?: readonly { readonly name: string; readonly from: number; readonly to: number }[];
  /** By row, then column; null stays empty. */
  readonly values: readonly (readonly (number | null)[])[];
  /** `amount`: from nothing to the largest. `ratio`: from 1 in both directions, halves as strong as doubles. */
  readonly scale: 'amount' | 'ratio';
}

interface Cell {
  readonly i: number;
  readonly j: number;
  readonly value: number;
}

/** A name below a column, or between it and the one before. */
interface Name {
  readonly at: number;
  readonly between: boolean;
  readonly text: string;
}

const width = 440;
const numberedColumns = 8;
const titledCells = 400;
const strongest = 0.82;

/** A number short enough for a cell: three digits, or a power of ten. */
export function amount(value: number): string {
  if (value === 0) return '0';
  const size = Math.abs(value);
  return size >= 0.001 && size < 9999.5
    ? String(Number(value.toPrecision(size < 1000 ? 3 : 4)))
    : value.toExponential(1);
}

/** A heat map of one panel's width; numbers in the cells where they have room. */
export function heatPlot({ label, rows, columns, groups, values, scale }: Heat): Markup {
  const cells = values.flatMap((row, i) =>
    row.flatMap((value, j): Cell[] => (value === null ? [] : [{ i, j, value }])),
  );
  const size = ({ value }: Cell): number =>
    scale === 'amount' ? value : Math.abs(Math.log(value || Number.MIN_VALUE));
  const most = Math.max(...cells.map(size)) || 1;
  const room = Math.min(130, Math.max(...rows.map(textWidth)) + 14);
  const column = (width - room - 2) / columns.length;
  const row = rows.length > 24 ? 13 : 26;
  const every = Math.ceil((Math.max(...columns.map(textWidth)) + 8) / column);
  const titled = cells.length <= titledCells;
  const names: readonly Name[] = groups
    ? groups.map(({ name, from, to }) => ({
        at: Math.ceil((from + to) / 2),
        // The middle of an even number of columns lies between two.
        between: (to - from) % 2 === 1,
        text: fit(name, (to - from + 1) * column - 4),
      }))
    : columns.flatMap((text, at) => (at % every === 0 ? [{ at, between: false, text }] : []));
  const gap = column > 5 ? 0.6 : 0;
  return draw(
    {
      width,
      height: rows.length * row + 26,
      marginTop: 2,
      marginLeft: room,
      marginRight: 2,
      marginBottom: 24,
      x: { domain: columns.map((_, j) => j), axis: null, padding: 0, label: null, round: false },
      y: { domain: rows.map((_, i) => i), axis: null, padding: 0, label: null },
      color: { type: 'identity' },
      opacity: { type: 'identity' },
      marks: [
        Plot.frame({ fill: 'var(--panel)', stroke: 'none' }),
        Plot.cell(cells, {
          x: 'j',
          y: 'i',
          fill: ({ value }: Cell) => (scale === 'ratio' && value >= 1 ? 'var(--warm)' : 'var(--cold)'),
          fillOpacity: (cell: Cell) => strongest * Math.min(1, size(cell) / most),
          inset: gap,
          ...(titled && { title: ({ i, j, value }: Cell) => `${rows[i]}, ${columns[j]}: ${amount(value)}` }),
        }),
        ...(columns.length <= numberedColumns && column > 40
          ? [Plot.text(cells, { x: 'j', y: 'i', text: ({ value }: Cell) => amount(value), fill: 'currentColor' })]
          : []),
        ...(groups ?? [])
          .slice(1)
          .map(({ from }) => Plot.ruleX([from], { dx: -column / 2, stroke: 'var(--page)', strokeWidth: 2 })),
        Plot.axisY(
          rows.map((_, i) => i),
          {
            tickSize: 0,
            label: null,
            fontSize: row < 20 ? 10 : 12,
            tickFormat: (i: number) => fit(rows[i] ?? '', room - 12),
          },
        ),
        ...[false, true].map((between) =>
          Plot.text(
            names.filter((name) => name.between === between),
            {
              x: 'at',
              frameAnchor: 'bottom',
              dy: 15,
              dx: between ? -column / 2 : 0,
              text: 'text',
              fill: 'var(--muted)',
            },
          ),
        ),
      ],
    },
    label,
  );
}
