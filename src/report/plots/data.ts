import * as Plot from '@observablehq/plot';
import { whole } from '../format.ts';
import type { Markup } from '../markup.ts';
import { draw, fit, responsive, textWidth } from '../svg.ts';
import type { ClientSummary, Summary } from '../summary.ts';

const namedClients = 40;
const shownValues = 16;
const other = 'other';

/** Values of the partition column, the most frequent first; the rare ones together as `other`. */
function valuesOf(clients: readonly ClientSummary[]): string[] {
  const totals = new Map<string, number>();
  for (const { histogram } of clients) {
    for (const [value, rows] of Object.entries(histogram)) totals.set(value, (totals.get(value) ?? 0) + rows);
  }
  const sorted = [...totals].toSorted((a, b) => b[1] - a[1]).map(([value]) => value);
  return sorted.length > shownValues ? [...sorted.slice(0, shownValues - 1), other] : sorted;
}

interface Share {
  readonly id: string;
  readonly value: string;
  readonly rows: number;
}

function shares(clients: readonly ClientSummary[], values: readonly string[]): Share[] {
  return clients.flatMap(({ id, histogram }) => {
    const rows = new Map<string, number>();
    for (const [value, count] of Object.entries(histogram)) {
      const shown = values.includes(value) ? value : other;
      rows.set(shown, (rows.get(shown) ?? 0) + count);
    }
    return [...rows].filter(([, count]) => count > 0).map(([value, count]) => ({ id, value, rows: count }));
  });
}

/** Whether some client holds rows of more than one value, so that their mixture is worth a picture. */
export const isMixed = ({ data }: Summary): boolean =>
  data.clients.some(({ histogram }) => Object.values(histogram).filter((rows) => rows > 0).length > 1);

/** Rows per client: as bars, as a grid of bubbles where clients hold mixtures, as a distribution where there are many. */
export function dataPlot(summary: Summary): Markup {
  const { clients } = summary.data;
  if (clients.length > namedClients) return responsive((width) => distribution(clients, width));
  return responsive((width) => (isMixed(summary) ? bubbles(clients, width) : bars(clients, width)));
}

const labelRoom = (clients: readonly ClientSummary[], width: number): number =>
  Math.min(width * 0.34, Math.max(...clients.map(({ id }) => textWidth(id))) + 14);

function bars(clients: readonly ClientSummary[], width: number): Markup {
  const room = labelRoom(clients, width);
  const parts = clients.flatMap(({ id, train, validation, test }) => [
    { id, part: 'train', rows: train, opacity: 0.75 },
    { id, part: 'validation', rows: validation, opacity: 0.45 },
    { id, part: 'test', rows: test, opacity: 0.22 },
  ]);
  return draw(
    {
      width,
      height: clients.length * 24 + 8,
      marginLeft: room,
      marginRight: 60,
      marginTop: 2,
      marginBottom: 4,
      x: { axis: null },
      y: {
        domain: clients.map(({ id }) => id),
        label: null,
        tickSize: 0,
        tickFormat: (id: string) => fit(id, room - 10),
      },
      opacity: { type: 'identity' },
      marks: [
        Plot.barX(parts, {
          x: 'rows',
          y: 'id',
          fill: 'currentColor',
          fillOpacity: 'opacity',
          insetTop: 3,
          insetBottom: 3,
          order: null,
          title: ({ id, part, rows }: (typeof parts)[number]) => `${id}: ${whole(rows)} ${part} rows`,
        }),
        Plot.text(clients, {
          x: ({ train, validation, test }: ClientSummary) => train + validation + test,
          y: 'id',
          text: ({ train, validation, test }: ClientSummary) => whole(train + validation + test),
          textAnchor: 'start',
          dx: 6,
        }),
      ],
    },
    'Rows per client: training, validation and test',
  );
}

function bubbles(clients: readonly ClientSummary[], width: number): Markup {
  const room = labelRoom(clients, width);
  const values = valuesOf(clients);
  const column = (width - room - 64) / values.length;
  const row = clients.length > 20 ? 20 : 26;
  const turned = Math.max(...values.map(textWidth)) > column - 6;
  const top = turned ? Math.min(120, Math.max(...values.map(textWidth)) * 0.72 + 14) : 26;
  const all = shares(clients, values);
  return draw(
    {
      width,
      height: clients.length * row + top + 6,
      marginLeft: room,
      marginRight: 64,
      marginTop: top,
      marginBottom: 6,
      x: { type: 'point', domain: values, axis: null, padding: 0.5 },
      y: {
        domain: clients.map(({ id }) => id),
        label: null,
        tickSize: 0,
        grid: true,
        tickFormat: (id: string) => fit(id, room - 10),
      },
      r: { range: [0, Math.min(row * 0.62, column * 0.5)] },
      marks: [
        Plot.dot(all, {
          x: 'value',
          y: 'id',
          r: 'rows',
          fill: 'currentColor',
          fillOpacity: 0.62,
          title: ({ id, value, rows }: Share) => `${id}, ${value}: ${whole(rows)} rows`,
        }),
        Plot.axisX(values, {
          anchor: 'top',
          tickSize: 0,
          label: null,
          tickFormat: (value: string) => fit(value, turned ? 140 : column),
          ...(turned && { tickRotate: -42, textAnchor: 'start', dx: 2 }),
        }),
        Plot.text(clients, {
          frameAnchor: 'right',
          y: 'id',
          dx: 60,
          textAnchor: 'end',
          text: ({ histogram }: ClientSummary) => whole(Object.values(histogram).reduce((sum, rows) => sum + rows, 0)),
        }),
      ],
    },
    'Rows of each client by value of the partition column; area is the number of rows',
  );
}

function distribution(clients: readonly ClientSummary[], width: number): Markup {
  const sorted = clients.toSorted((a, b) => b.train - a.train).map((client, i) => ({ ...client, i }));
  return draw(
    {
      width,
      height: 190,
      marginLeft: 44,
      marginRight: 4,
      marginTop: 8,
      marginBottom: 24,
      x: { domain: [0, sorted.length], ticks: [], label: null },
      y: { label: null, ticks: 4, tickSize: 0, grid: true },
      marks: [
        Plot.rectY(sorted, {
          x1: 'i',
          x2: ({ i }: (typeof sorted)[number]) => i + 1,
          y: 'train',
          fill: 'currentColor',
          fillOpacity: 0.6,
          insetLeft: 0.2,
          insetRight: 0.2,
          title: ({ id, train }: ClientSummary) => `${id}: ${whole(train)} training rows`,
        }),
        Plot.text([`training rows of ${sorted.length} clients, largest first`], {
          frameAnchor: 'bottom-right',
          dy: 18,
          text: (text: string) => text,
          fill: 'var(--muted)',
          fontSize: 11,
        }),
      ],
    },
    `Training rows of ${sorted.length} clients, largest first`,
  );
}
