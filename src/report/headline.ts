import { lowest, sharesModel } from './facts.ts';
import { duration, loss, percent, short, whole } from './format.ts';
import { html, type Markup } from './markup.ts';
import type { Summary } from './summary.ts';

/** `64 % lower than the base`, or higher, of one loss against another's. */
function against(value: number, reference: number, what: string): string {
  const change = 1 - value / reference;
  if (Math.abs(change) < 0.005) return `about the same as ${what}`;
  return `${percent(Math.abs(change), 0).replace(' ', '\u00a0')} ${change > 0 ? 'lower' : 'higher'} than ${what}`;
}

const bestGlobal = (summary: Summary) =>
  lowest(summary.methods.filter(sharesModel), (method) => method.global.macro.loss);
const bestPersonal = (summary: Summary) => lowest(summary.methods, (method) => method.personal?.macro.loss);

/** The result in one sentence, from base to global to personal. */
export function headline(summary: Summary): string {
  const base = summary.base.macro.loss;
  const global = bestGlobal(summary);
  const personal = bestPersonal(summary);
  const shared = global && `One shared adapter brings the loss from ${base.toFixed(2)} to ${global.value.toFixed(2)}`;
  if (shared && personal) return `${shared}, an adapter per client to ${personal.value.toFixed(2)}`;
  if (shared) return shared;
  if (personal) return `An adapter per client brings the loss from ${base.toFixed(2)} to ${personal.value.toFixed(2)}`;
  return `The base model's loss is ${base.toFixed(2)}`;
}

/** The page's head: what ran, what came out, and how far one run can be trusted. */
export function headSection(summary: Summary): Markup {
  const { model, data, lora, methods } = summary;
  const base = summary.base.macro.loss;
  const global = bestGlobal(summary);
  const personal = bestPersonal(summary);
  const of = (count: number) => (count > 1 ? `, the lowest of ${count} methods` : '');
  const sharing = methods.filter(sharesModel).length;
  const personalising = methods.filter((method) => method.personal).length;
  const clients = data.clients.length;
  const rows = summary.base.micro.rows;
  return html`<p class="kicker">
      fedlora report · ${model.name} · ${data.name} · ${clients} clients · ${summary.started.slice(0, 10)}
    </p>
    <h1>${headline(summary)}</h1>
    <p class="lead">
      ${clients} clients fine-tuned ${model.name} without showing each other their data. Only small LoRA adapters were
      trained: ${short(model.trainable)} numbers beside the model’s ${short(model.parameters)} (rank ${lora.rank}). The
      figures are the loss on ${whole(rows)} test rows that nobody trained on: how surprised the model is by each token
      of the right answers. Lower is better.
    </p>
    <ol class="steps">
      ${step('No training', base, `the base model: perplexity ${choices(base)}`)}
      ${
        global &&
        step(
          'One adapter for everybody',
          global.value,
          `${global.method.label}${of(sharing)}: ${against(global.value, base, 'the base')}, perplexity ${choices(global.value)}`,
        )
      }
      ${
        personal &&
        step(
          'One adapter per client',
          personal.value,
          `${personal.method.label}${of(personalising)}: ${
            global && sharesModel(personal.method)
              ? against(personal.value, personal.method.global.macro.loss, 'its own global adapter')
              : against(personal.value, base, 'the base')
          }, perplexity ${choices(personal.value)}`,
        )
      }
    </ol>
    <p class="note">
      Each figure is the mean over clients, in nats per answer token; a personal adapter is tested on its own client’s
      rows. Perplexity ${choices(base)} means: as unsure as when choosing among ${choices(base)} equally likely tokens.
      This is one run with seed ${summary.seed}, ${duration(summary.seconds)} long:
      ${
        methods.length > 1
          ? 'small differences between methods can be luck. Repeat it with other seeds before believing them, and compare the work done (labelled tokens, in the table).'
          : 'repeat it with other seeds before believing small differences.'
      }
    </p>`;
}

const choices = (value: number): string =>
  Math.exp(value) < 99.5 ? Math.exp(value).toFixed(1) : whole(Math.exp(value));

const step = (what: string, value: number, how: string): Markup =>
  html`<li>
    <div class="what">${what}</div>
    <div class="figure">${loss(value)}<span class="unit">loss</span></div>
    <div class="how">${how}</div>
  </li>`;
