import { clientIds, sharesModel, stageTraffic, work } from './facts.ts';
import { bytes, duration, loss, short, whole } from './format.ts';
import { html, type Markup } from './markup.ts';
import { swatch } from './palette.ts';
import type {
  MethodFacts,
  MethodSummary,
  ModelScores,
  PersonalScores,
  Score,
  StageSummary,
  Summary,
} from './summary.ts';
import type { Table } from './table.ts';

const none = '–';

/** A table as HTML: the first column names the row. */
export function tableMarkup(table: Table): Markup {
  const align = (i: number) => (table.right[i] ? html` class="r"` : html``);
  return html`<div class="scroll wide-table">
    <table>
      <thead>
        <tr>
          ${table.head.map((head, i) => html`<th scope="col" ${align(i)}>${head}</th>`)}
        </tr>
      </thead>
      <tbody>
        ${table.rows.map(
          (row) =>
            html`<tr>
              ${row.map((cell, i) => (i === 0 ? html`<th scope="row">${cell}</th>` : html`<td${align(i)}>${cell}</td>`))}
            </tr> `,
        )}
      </tbody>
    </table>
  </div>`;
}

const stageHead = [
  'stage',
  'rounds',
  'numbers trained',
  'labelled tokens',
  'all tokens',
  'time',
  'peak memory',
  'up per client',
  'down per client',
  'global loss after',
  'personal loss after',
];

/** Each stage of each method: its rounds, what it trained, its work, time, memory, traffic, and the losses it left; a group a method. */
export function stageMarkup(summary: Summary): Markup {
  const rest = summary.seconds - summary.methods.reduce((sum, method) => sum + method.seconds, 0);
  const cells = (stage: StageSummary, told: boolean): string[] => {
    const traffic = stageTraffic(stage);
    return [
      whole(stage.rounds.length),
      whole(stage.trained),
      told ? short(stage.labelledTokens) : none,
      told ? short(stage.processedTokens) : none,
      duration(stage.seconds),
      stage.peakMemory === undefined ? none : bytes(stage.peakMemory),
      traffic ? bytes(traffic.up) : none,
      traffic ? bytes(traffic.down) : none,
      loss(stage.global.macro.loss),
      stage.personal ? loss(stage.personal.macro.loss) : none,
    ];
  };
  const row = (name: string, values: readonly string[]) =>
    html`<tr>
      <th scope="row">${name}</th>
      ${values.map((value) => html`<td class="r">${value}</td>`)}
    </tr> `;
  return html`<div class="scroll wide-table grouped">
    <table>
      <thead>
        <tr>
          ${stageHead.map((head, i) => html`<th scope="col" ${i > 0 && html` class="r"`}>${head}</th>`)}
        </tr>
      </thead>
      ${summary.methods.map(
        (method, i) =>
          html`<tbody>
            <tr class="group">
              <th scope="rowgroup" colspan="${stageHead.length}">${swatch(i)}${method.label}</th>
            </tr>
            ${method.stages.map((stage) => row(stage.name, cells(stage, work(method) !== undefined)))}
          </tbody>`,
      )}
      <tbody class="group">
        ${row('loading, evaluation, writing', ['', '', '', '', duration(Math.max(0, rest)), '', '', '', '', ''])}
      </tbody>
    </table>
  </div>`;
}

interface Scored {
  readonly head: string;
  readonly scores: Readonly<Record<string, Score>>;
  readonly heldOut?: Score | undefined;
}

const globalOf = (method: MethodSummary, { clients, heldOut }: ModelScores): Scored[] =>
  sharesModel(method) ? [{ head: `${method.label}: global`, scores: clients, heldOut }] : [];
const personalOf = ({ label }: MethodSummary, personal: PersonalScores | undefined): Scored[] =>
  personal ? [{ head: `${label}: personal`, scores: personal.clients }] : [];

/** A line a client: its rows and tokens, and the loss under each model, the first being the base model. */
function lossTable(ids: readonly string[], base: ModelScores, models: readonly Scored[]): Table {
  const head = ['client', 'test rows', 'tokens', 'base', ...models.map((model) => model.head)];
  const cell = (score: Score | undefined, show: (score: Score) => string) => (score ? show(score) : none);
  const line = (id: string, of: Score | undefined, scores: readonly (Score | undefined)[]): string[] => [
    id,
    cell(of, ({ rows }) => whole(rows)),
    cell(of, ({ tokens }) => whole(tokens)),
    ...[of, ...scores].map((score) => cell(score, (found) => loss(found.loss))),
  ];
  const rows = ids.map((id) =>
    line(
      id,
      base.clients[id],
      models.map(({ scores }) => scores[id]),
    ),
  );
  const heldOut = models.map((model) => model.heldOut);
  return {
    head,
    right: head.map((_, i) => i > 0),
    rows: base.heldOut ? [...rows, line('global test rows', base.heldOut, heldOut)] : rows,
  };
}

/** Every client's test loss under every model; last the global test rows, where there are any. */
export const clientTable = (summary: Summary): Table =>
  lossTable(
    clientIds(summary),
    summary.base,
    summary.methods.flatMap((method) => [...globalOf(method, method.global), ...personalOf(method, method.personal)]),
  );

/** The same for clients who took no part, where there are any. */
export function newClientTable({ newClients, methods }: Summary): Table | undefined {
  if (newClients === undefined) return undefined;
  const models = methods.flatMap((method) => {
    const own = method.newClients;
    return own ? [...globalOf(method, own.global), ...personalOf(method, own.personal)] : [];
  });
  return lossTable(
    newClients.clients.map(({ id }) => id),
    newClients.base,
    models,
  );
}

/** Who was left out of which round, and why; the same client and reason in one line. */
export function leftOutTable(summary: { readonly methods: readonly MethodFacts[] }): Table | undefined {
  const rounds = new Map<string, { readonly cells: readonly string[]; readonly rounds: number[] }>();
  for (const method of summary.methods) {
    for (const stage of method.stages) {
      for (const { client, reason, round } of stage.leftOut) {
        const cells = [client, `${method.label}, ${stage.name}`, reason];
        const key = JSON.stringify(cells);
        const entry = rounds.get(key) ?? { cells, rounds: [] };
        entry.rounds.push(round + 1);
        rounds.set(key, entry);
      }
    }
  }
  if (rounds.size === 0) return undefined;
  const rows = [...rounds.values()].map(({ cells, rounds }) => [cells[0]!, cells[1]!, listed(rounds), cells[2]!]);
  return { head: ['client', 'method, stage', 'rounds', 'reason'], right: [false, false, false, false], rows };
}

function listed(rounds: readonly number[]): string {
  const shown = rounds.slice(0, 8).join(', ');
  return rounds.length > 8 ? `${shown} and ${rounds.length - 8} more` : shown;
}
