import { trafficPerClient } from './facts.ts';
import { bytes, duration, epsilon, percent, short, whole } from './format.ts';
import { html } from './markup.ts';
import { figure, renderPage, type Section } from './page.ts';
import { trafficPlot } from './plots/traffic.ts';
import { privacySection } from './privacy.ts';
import { optionsText } from './settings.ts';
import type { UnmeasuredSummary } from './summary.ts';
import type { Table } from './table.ts';
import { leftOutTable, tableMarkup } from './tables.ts';

/** A line a method: what its clients' privacy cost, what was sent, how long it took. */
export const unmeasuredTable = ({ methods }: UnmeasuredSummary): Table => ({
  head: ['method', 'rounds', 'ε', 'up per client', 'down per client', 'time'],
  right: [false, true, true, true, true, true],
  rows: methods.map((method) => {
    const traffic = trafficPerClient(method);
    return [
      method.label,
      whole(method.stages.reduce((sum, { rounds }) => sum + rounds.length, 0)),
      method.privacy ? epsilon(method.privacy.epsilon) : '–',
      traffic ? bytes(traffic.up) : '–',
      traffic ? bytes(traffic.down) : '–',
      duration(method.seconds),
    ];
  }),
});

/** The report of a run whose clients tell nothing of their data: what it did, and what it cost. */
export function renderUnmeasured(summary: UnmeasuredSummary, extras: { readonly config: string }): string {
  const { model, clients, lora, methods } = summary;
  const leftOut = leftOutTable(summary);
  const privacy = privacySection(summary);
  const settings = html`<dl>
      <dt>model</dt>
      <dd>
        ${model.name}, ${whole(model.parameters)} parameters, ${whole(model.trainable)} trained
        (${percent(model.trainable / model.parameters, 3)})
      </dd>
      <dt>LoRA</dt>
      <dd>rank ${lora.rank}, alpha ${lora.alpha}, on ${lora.targets.join(', ')}</dd>
      <dt>clients</dt>
      <dd>${clients.join(', ')}</dd>
      ${methods.map(
        ({ label, use, options }) =>
          html`<dt>${label}</dt>
            <dd>${[use, optionsText(options)].filter((part) => part !== '').join(': ')}</dd> `,
      )}
    </dl>
    <details>
      <summary>config.yaml, as resolved</summary>
      <pre>${extras.config}</pre>
    </details>`;
  const sections: (Section | undefined)[] = [
    { id: 'table', short: 'Table', title: 'What was done', body: tableMarkup(unmeasuredTable(summary)) },
    privacy && { id: 'privacy', short: 'Privacy', title: 'What the clients’ privacy costs', body: privacy },
    {
      id: 'traffic',
      short: 'Traffic',
      title: 'What was sent',
      body: figure(
        'Bytes each client sent (up) and received (down), mean over the clients asked.',
        trafficPlot(summary),
      ),
    },
    leftOut && { id: 'left-out', short: 'Left out', title: 'Clients left out of a round', body: tableMarkup(leftOut) },
    { id: 'settings', short: 'Settings', title: 'Settings', body: settings },
  ];
  return renderPage({
    title: `${model.name}, privately`,
    fedlora: summary.fedlora,
    head: html`<p class="kicker">
        fedlora report · ${model.name} · ${clients.length} clients · ${summary.started.slice(0, 10)}
      </p>
      <h1>A private federation: what it did, and what it cost</h1>
      <p class="lead">
        ${clients.length} clients elsewhere fine-tuned ${model.name} without showing anybody their data, their numbers
        of rows or their losses. Only small LoRA adapters were trained: ${short(model.trainable)} numbers beside the
        model’s ${short(model.parameters)}. So nothing here says how good they are: measure the global adapter on rows
        of your own with <code>fedlora eval</code>.
      </p>`,
    sections: sections.filter((section) => section !== undefined),
    foot: `Written by fedlora ${summary.fedlora} from summary.json, in ${duration(summary.seconds)}.`,
  });
}
