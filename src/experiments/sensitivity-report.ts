import type { Axis } from '../lora/axis.ts';
import { AXES } from '../lora/axis.ts';
import { duration, short, whole } from '../report/format.ts';
import { html, type Markup } from '../report/markup.ts';
import { figure, renderPage, type Section } from '../report/page.ts';
import { amount } from '../report/plots/heat.ts';
import { tableMarkup } from '../report/tables.ts';
import { PAPER } from './ratios.ts';
import { clientPanels, layerPanels, ratioPanels, RAW, SIZED } from './sensitivity-panels.ts';
import type { Sensitivity } from './sensitivity-result.ts';
import { caveat, partTable, ratioTable } from './sensitivity-table.ts';

const vectorsOf: Readonly<Record<Axis, string>> = {
  column: 'the columns of A (rank entries each) and the columns of B (out entries each)',
  rank: 'the rows of A (in entries each) and the columns of B (out entries each)',
  row: 'the rows of A (in entries each) and the rows of B (rank entries each)',
};

/** `3.2 times as much in A as in B`, the larger first. */
function compared(ratio: number | null, [up, down]: readonly [string, string]): string {
  if (ratio === null || ratio === 0) return `not at all in ${ratio === 0 ? up : down}`;
  const [more, first, second] = ratio < 1 ? [1 / ratio, down, up] : [ratio, up, down];
  return `${amount(Number(more.toPrecision(2)))} times as much in ${first} as in ${second}`;
}

/** The report of a sensitivity study as one self-contained HTML file in the manner of a run's report. */
export function renderSensitivity(result: Sensitivity): string {
  const { source, fedlora } = result;
  const title =
    source.kind === 'training' ? `sensitivity, ${source.model}, ${source.data}` : 'sensitivity, two adapters';
  return renderPage({
    title,
    fedlora,
    head: headSection(result),
    sections: [
      { id: 'ratios', short: 'Ratios', title: 'The two ratios, in every axis', body: ratioSection(result) },
      ...AXES.map((axis) => axisSection(result, axis)),
      { id: 'settings', short: 'Settings', title: 'Settings', body: settings(result) },
    ],
    foot: `Written by fedlora ${fedlora} from sensitivity.json; every number is in sensitivity.csv too.`,
  });
}

function headSection(result: Sensitivity): Markup {
  const { source, ratios, lora, started } = result;
  const { direction, magnitude } = ratios.column;
  const about =
    source.kind === 'training'
      ? `${source.model} · ${source.data} · ${source.clients.length} clients`
      : 'two given adapters';
  const whose =
    source.kind === 'training'
      ? `${source.clients.length} clients each fine-tuned a LoRA of ${source.model} on their own rows alone; compared are its state after ${amount(100 * source.at)} % of the steps and its end.`
      : `Compared are two states of one adapter: ${source.from} and ${source.to}.`;
  return html`<p class="kicker">fedlora sensitivity study · ${about} · ${started.slice(0, 10)}</p>
    <h1>
      Directions turned ${compared(direction.raw, ['A', 'B'])}, magnitudes changed
      ${compared(magnitude.raw, ['B', 'A'])}
    </h1>
    <p class="lead">
      ${whose} Every column of the factors A and B is split into a magnitude, its length, and a direction. ΔM is how
      much a length changed on average, ΔD how far a direction turned (1 − cosine).
    </p>
    <ol class="steps">
      ${step('Directions, A over B', direction.raw, `per entry ${part(direction.rms)}, relative ${part(direction.relative)}; the paper reports ${PAPER.direction}`)}
      ${step('Magnitudes, B over A', magnitude.raw, `per entry ${part(magnitude.rms)}, relative ${part(magnitude.relative)}; the paper reports ${PAPER.magnitude}`)}
      ${step('Geometry alone, √(d/r)', lora.geometry.column, 'by so much B’s columns are longer than A’s only because they have more entries')}
    </ol>
    <p class="note">${caveat(result)}</p>`;
}

const part = (value: number | null): string => (value === null ? '–' : amount(Number(value.toPrecision(3))));

const step = (what: string, value: number | null, how: string): Markup =>
  html`<li>
    <div class="what">${what}</div>
    <div class="figure">${part(value)}<span class="unit">×</span></div>
    <div class="how">${how}</div>
  </li>`;

function ratioSection(result: Sensitivity): Markup {
  const { source } = result;
  return html`<p class="note">
      Ratios of means over ${source.kind === 'training' ? 'clients and ' : ''}modules. Per entry: magnitudes as root
      mean square of a vector’s entries, directions as root mean square change of an entry. Relative: against the mean
      magnitude at the checkpoint; for directions the chord √(2·ΔD), against their own length 1. √(n_B/n_A): a vector of
      B against one of A by their numbers of entries alone. A dash: nothing to divide by, or not known.
    </p>
    ${tableMarkup(ratioTable(result))}
    ${
      source.kind === 'training' &&
      html`<details>
        <summary>By client</summary>
        ${tableMarkup(partTable(result, 'clients'))}
      </details>`
    }
    <details>
      <summary>By kind of projection</summary>
      ${tableMarkup(partTable(result, 'kinds'))}
    </details>`;
}

function axisSection(result: Sensitivity, axis: Axis): Section {
  const clients = clientPanels(result, axis);
  const mean = result.source.kind === 'training' ? ', mean over clients' : '';
  return {
    id: `axis-${axis}`,
    short: `Axis ${axis}`,
    title: `Axis ${axis}: layer by layer`,
    body: html`<p class="note">The vectors are ${vectorsOf[axis]}.</p>
      ${figure(
        `Each panel’s shade goes from nothing to its own largest value; rows are kinds of projection, columns layers${mean}.`,
        layerPanels(result, axis, RAW),
      )}
      ${figure(
        'The same as ratios. Orange: above 1, blue: below 1; doubled is as strong as halved.',
        ratioPanels(result, axis),
      )}
      <details>
        <summary>Size-normalised: per entry, and relative</summary>
        ${layerPanels(result, axis, SIZED)}
      </details>
      ${clients && figure('Client by client: columns are modules, kind after kind, from the first layer to the last.', clients)}`,
  };
}

function settings({ source, lora, seconds, leftOut, started, fedlora }: Sensitivity): Markup {
  const entries: readonly (readonly [string, string])[] = [
    ['LoRA', `rank ${lora.rank}, alpha ${lora.alpha}, on ${lora.targets.join(', ')} of ${lora.layers} layers`],
    ...(source.kind === 'adapters'
      ? ([
          ['from', source.from],
          ['to', source.to],
          ['base', source.base ?? 'not named'],
        ] as const)
      : ([
          ['model', `${source.model}, ${whole(source.parameters)} parameters`],
          ['data', `${source.data}, ${source.partition}`],
          ['checkpoint', `after ${amount(100 * source.at)} % of the steps`],
          [
            'training',
            `AdamW at rate ${source.rate} (${source.schedule}), batches of ${source.batchSize}${source.accumulate > 1 ? ` × ${source.accumulate}` : ''}, A and B from B = 0`,
          ],
          ['seed', String(source.seed)],
          ['threads', String(source.threads)],
          ['time in training', duration(seconds)],
        ] as const)),
    ['started', started],
    ['fedlora', fedlora],
  ];
  const rows =
    source.kind === 'training'
      ? source.clients.map((client) => [
          client.client,
          whole(client.rows),
          whole(client.steps),
          whole(client.checkpoint),
          short(client.tokens),
          client.lossFirst.toFixed(3),
          client.lossLast.toFixed(3),
          duration(client.seconds),
        ])
      : [];
  const head = [
    'client',
    'rows',
    'steps',
    'checkpoint after',
    'labelled tokens',
    'loss to the checkpoint',
    'loss at the end',
    'time',
  ];
  return html`<dl>
      ${entries.map(
        ([term, value]) =>
          html`<dt>${term}</dt>
            <dd>${value}</dd> `,
      )}
    </dl>
    ${rows.length > 0 && tableMarkup({ head, right: head.map((_, i) => i > 0), rows })}
    ${leftOut.map(({ client, reason }) => html`<p class="note">Left out: ${client}: ${reason}</p>`)}`;
}
