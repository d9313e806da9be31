import type { Axis } from '../lora/axis.ts';
import { html, type Markup } from '../report/markup.ts';
import { amount, heatPlot } from '../report/plots/heat.ts';
import { meanOf, ratiosOf, type ClientChange } from './ratios.ts';
import type { Measure } from './sensitivity.ts';
import type { Sensitivity } from './sensitivity-result.ts';

type Named = readonly [measure: Measure, name: string];

export const RAW: readonly Named[] = [
  ['deltaM', 'ΔM'],
  ['deltaD', 'ΔD'],
];
export const SIZED: readonly Named[] = [
  ['deltaMRms', 'ΔM per entry'],
  ['deltaMRelative', 'ΔM relative'],
  ['deltaDRms', 'ΔD per entry'],
  ['deltaDRelative', 'ΔD relative'],
];

/** Beyond so many clients the map of clients is not drawn; the table has them. */
const drawnClients = 60;

const panels = (all: readonly Markup[]): Markup => html`<div class="panels" style="--min:20rem">${all}</div>`;

const panel = (title: string, note: string, plot: Markup): Markup =>
  html`<div>
    <h3>${title}</h3>
    <p class="note">${note}</p>
    ${plot}
  </div>`;

const distinct = <T>(values: readonly T[]): T[] => [...new Set(values)];

function range(values: readonly (readonly (number | null)[])[]): string {
  const all = values.flat().filter((value) => value !== null);
  return all.length === 0 ? 'nothing to measure' : `${amount(Math.min(...all))} to ${amount(Math.max(...all))}`;
}

/** Layer × kind of projection, of each measure, A beside B. */
export function layerPanels({ changes }: Sensitivity, axis: Axis, measures: readonly Named[]): Markup {
  const own = changes.filter((change) => change.axis === axis);
  const grid = gridOf(own);
  return panels(
    measures.flatMap(([measure, name]) =>
      (['A', 'B'] as const).map((factor) => {
        const values = grid.map((parts) =>
          meanOf(
            parts.filter((change) => change.factor === factor),
            measure,
          ),
        );
        return panel(
          `${name} of ${factor}`,
          range(values),
          heatPlot({
            label: `${name} of ${factor}, axis ${axis}, by layer and kind of projection: ${range(values)}`,
            rows: grid.kinds,
            columns: grid.layers.map(String),
            values,
            scale: 'amount',
          }),
        );
      }),
    ),
  );
}

/** The changes at each kind and layer. */
function gridOf(changes: readonly ClientChange[]) {
  const kinds = distinct(changes.map(({ kind }) => kind));
  const layers = distinct(changes.map(({ layer }) => layer)).toSorted((a, b) => a - b);
  const at = new Map<string, ClientChange[]>();
  for (const change of changes) {
    const key = `${change.kind} ${change.layer}`;
    at.set(key, [...(at.get(key) ?? []), change]);
  }
  return {
    kinds,
    layers,
    map: (of: (parts: readonly ClientChange[]) => number | null): (number | null)[][] =>
      kinds.map((kind) => layers.map((layer) => of(at.get(`${kind} ${layer}`) ?? []))),
  };
}

/** Both ratios, layer × kind of projection. */
export function ratioPanels({ changes }: Sensitivity, axis: Axis): Markup {
  const grid = gridOf(changes.filter((change) => change.axis === axis));
  const ratio = (name: string, of: (parts: readonly ClientChange[]) => number | null): Markup => {
    const values = grid.map(of);
    const label = `${name}, axis ${axis}, by layer and kind of projection: ${range(values)}`;
    return panel(
      name,
      range(values),
      heatPlot({ label, rows: grid.kinds, columns: grid.layers.map(String), values, scale: 'ratio' }),
    );
  };
  return panels([
    ratio('ΔM(B)/ΔM(A)', (parts) => ratiosOf(parts).magnitude.raw),
    ratio('ΔD(A)/ΔD(B)', (parts) => ratiosOf(parts).direction.raw),
  ]);
}

/** Client × module, of ΔM and ΔD of both factors; undefined for one client or too many. */
export function clientPanels({ changes }: Sensitivity, axis: Axis): Markup | undefined {
  const own = changes.filter((change) => change.axis === axis);
  const clients = distinct(own.map(({ client }) => client));
  if (clients.length < 2 || clients.length > drawnClients) return undefined;
  const { kinds } = gridOf(own);
  const modules = kinds.flatMap((kind) =>
    distinct(own.filter((change) => change.kind === kind).map(({ layer }) => layer))
      .toSorted((a, b) => a - b)
      .map((layer) => ({ kind, layer })),
  );
  const groups = kinds.map((name) => ({
    name,
    from: modules.findIndex(({ kind }) => kind === name),
    to: modules.findLastIndex(({ kind }) => kind === name),
  }));
  const value = new Map(
    own.map((change) => [JSON.stringify([change.client, change.kind, change.layer, change.factor]), change]),
  );
  return panels(
    RAW.flatMap(([measure, name]) =>
      (['A', 'B'] as const).map((factor) => {
        const values = clients.map((client) =>
          modules.map(({ kind, layer }) => value.get(JSON.stringify([client, kind, layer, factor]))?.[measure] ?? null),
        );
        return panel(
          `${name} of ${factor}`,
          range(values),
          heatPlot({
            label: `${name} of ${factor}, axis ${axis}, by client and module: ${range(values)}`,
            rows: clients,
            columns: modules.map(({ kind, layer }) => `${kind} ${layer}`),
            groups,
            values,
            scale: 'amount',
          }),
        );
      }),
    ),
  );
}
