import { percent, whole } from './format.ts';
import { html, type Markup } from './markup.ts';
import type { Summary } from './summary.ts';

/** What the run was told: model, adapters, data, and each method's options as resolved. */
export function settingsList(summary: Summary): Markup {
  const { model, lora, data } = summary;
  const dropped = Object.entries(data.dropped).map(([reason, rows]) => `${whole(rows)} ${reason}`);
  const entries: readonly (readonly [string, string])[] = [
    ['model', `${model.name}, ${whole(model.parameters)} parameters`],
    ['trainable', `${whole(model.trainable)} (${percent(model.trainable / model.parameters, 3)})`],
    ['LoRA', `rank ${lora.rank}, alpha ${lora.alpha}${lora.rslora ? ', rsLoRA' : ''}, on ${lora.targets.join(', ')}`],
    ['data', `${data.name}, ${whole(data.rows)} rows`],
    ['partition', `${data.clients.length} clients, ${data.partition}`],
    ['rows left out', dropped.length > 0 ? dropped.join(', ') : 'none'],
    ['rows truncated', whole(data.truncated)],
    ['seed', String(summary.seed)],
    ['started', summary.started],
    ['fedlora', summary.fedlora],
    ...summary.methods.map((method): [string, string] => [
      method.label,
      [method.use, optionsText(method.options)].filter((part) => part !== '').join(': '),
    ]),
  ];
  return html`<dl>
    ${entries.map(
      ([term, value]) =>
        html`<dt>${term}</dt>
          <dd>${value}</dd> `,
    )}
  </dl>`;
}

/** A method's options as `key value, section.key value`. */
export const optionsText = (options: Readonly<Record<string, unknown>>): string =>
  flat(options)
    .map(([key, value]) => `${key} ${typeof value === 'string' ? value : JSON.stringify(value)}`)
    .join(', ');

const flat = (options: object): (readonly [string, unknown])[] =>
  Object.entries(options).flatMap(([key, value]: [string, unknown]) =>
    typeof value === 'object' && value !== null && !Array.isArray(value)
      ? flat(value).map(([inner, own]) => [`${key}.${inner}`, own] as const)
      : [[key, value] as const],
  );
