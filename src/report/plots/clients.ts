import * as Plot from '@observablehq/plot';
import { clientIds, sharesModel } from '../facts.ts';
import { loss } from '../format.ts';
import { html, type Markup } from '../markup.ts';
import { methodColor } from '../palette.ts';
import { draw, fit, textWidth } from '../svg.ts';
import type { MethodSummary, Summary } from '../summary.ts';

/** A client before and after: base → global where a method has no personal adapters, else global → personal. */
interface Change {
  readonly id: string;
  readonly from: number;
  readonly to: number;
}

/** More clients than this are shown as sorted differences without names. */
export const namedClients = 30;

/** What the panels compare: personal adapters where any method made some. */
export const comparesPersonal = (summary: Summary): boolean => summary.methods.some((method) => method.personal);

function changes(summary: Summary, method: MethodSummary): Change[] {
  return clientIds(summary).flatMap((id) => {
    const from = method.personal ? method.global.clients[id]?.loss : summary.base.clients[id]?.loss;
    const to = method.personal ? method.personal.clients[id]?.loss : method.global.clients[id]?.loss;
    return from === undefined || to === undefined ? [] : [{ id, from, to }];
  });
}

/** A panel per method: what each client gains. */
export function clientsPlot(summary: Summary): Markup {
  const personal = comparesPersonal(summary);
  const panels = summary.methods
    .map((method, i) => ({ method, color: methodColor(i), changes: changes(summary, method) }))
    .filter(({ method, changes }) => changes.length > 0 && (method.personal !== undefined || !personal));
  const many = clientIds(summary).length > namedClients;
  const sharing = panels.filter(({ method }) => sharesModel(method));
  // What was never shared starts from the base model, far away: its panel has its own scale.
  const scale = (panel: (typeof panels)[number]) => span(sharing.includes(panel) ? sharing : [panel]);
  const gains = panels.flatMap((panel) => panel.changes.map(({ from, to }) => to - from));
  const gainDomain: [number, number] = [Math.min(0, ...gains), Math.max(0, ...gains)];
  return html`<div class="panels" style="--min:${panels.length === 1 ? 40 : 20}rem">
    ${panels.map(
      (panel) =>
        html`<div>
          <h3><span class="swatch" style="background:${panel.color}"></span>${panel.method.label}</h3>
          <p class="note">${tally(panel.changes)}</p>
          ${many ? sorted(panel.changes, panel.color, gainDomain, panel.method.label) : named(panel.changes, panel.color, scale(panel), panel.method.label)}
        </div>`,
    )}
  </div>`;
}

function span(panels: readonly { readonly changes: readonly Change[] }[]): [number, number] {
  const values = panels.flatMap((panel) => panel.changes.flatMap(({ from, to }) => [from, to]));
  return [Math.min(...values), Math.max(...values)];
}

function tally(all: readonly Change[]): string {
  const better = all.filter(({ from, to }) => to < from).length;
  return `better for ${better} of ${all.length} client${all.length === 1 ? '' : 's'}`;
}

const panelWidth = 420;

function named(all: readonly Change[], color: string, domain: [number, number], label: string): Markup {
  const room = Math.min(150, Math.max(...all.map(({ id }) => textWidth(id))) + 14);
  const row = all.length > 16 ? 17 : 23;
  return draw(
    {
      width: panelWidth,
      height: all.length * row + 30,
      marginLeft: room,
      marginRight: 44,
      marginTop: 4,
      marginBottom: 24,
      x: { domain, nice: true, label: null, ticks: 4, tickSize: 0, grid: true },
      y: { domain: all.map(({ id }) => id), label: null, tickSize: 0, tickFormat: (id: string) => fit(id, room - 12) },
      marks: [
        Plot.ruleY(all, { y: 'id', x1: 'from', x2: 'to', stroke: change(color), strokeWidth: 2.4 }),
        Plot.dot(all, { x: 'from', y: 'id', r: 3.4, stroke: 'var(--muted)', strokeWidth: 1.4, fill: 'var(--page)' }),
        Plot.dot(all, {
          x: 'to',
          y: 'id',
          r: 4.2,
          fill: change(color),
          title: ({ id, from, to }: Change) => `${id}: ${loss(from)} → ${loss(to)}`,
        }),
        Plot.text(all, {
          frameAnchor: 'right',
          y: 'id',
          dx: 40,
          textAnchor: 'end',
          text: ({ to }: Change) => to.toFixed(2),
        }),
      ],
    },
    `Change of each client's loss with ${label}; ${tally(all)}`,
  );
}

const change =
  (color: string) =>
  ({ from, to }: Change): string =>
    to <= from ? color : 'var(--worse)';

function sorted(all: readonly Change[], color: string, domain: [number, number], label: string): Markup {
  const bars = all
    .map((one) => ({ ...one, gain: one.to - one.from }))
    .toSorted((a, b) => a.gain - b.gain)
    .map((one, i) => ({ ...one, i }));
  return draw(
    {
      width: panelWidth,
      height: 190,
      marginLeft: 40,
      marginRight: 4,
      marginTop: 8,
      marginBottom: 24,
      x: { domain: [0, bars.length], ticks: [], label: null },
      y: { domain, label: null, ticks: 4, tickSize: 0, grid: true, tickFormat: '+.1f' },
      marks: [
        Plot.rectY(bars, {
          x1: 'i',
          x2: ({ i }: (typeof bars)[number]) => i + 1,
          y: 'gain',
          fill: change(color),
          insetLeft: 0.2,
          insetRight: 0.2,
          title: ({ id, from, to }: Change) => `${id}: ${loss(from)} → ${loss(to)}`,
        }),
        Plot.ruleY([0], { stroke: 'currentColor' }),
        Plot.text([`${bars.length} clients, sorted`], {
          frameAnchor: 'bottom-right',
          dy: 18,
          text: (text: string) => text,
          fill: 'var(--muted)',
          fontSize: 11,
        }),
      ],
    },
    `Change of the loss of ${bars.length} clients with ${label}, sorted; ${tally(all)}`,
  );
}
