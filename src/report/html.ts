import { clientIds, sharesModel, work } from './facts.ts';
import { percent } from './format.ts';
import { headSection } from './headline.ts';
import { html, type Markup } from './markup.ts';
import { outcomeTable } from './outcomes.ts';
import { figure, renderPage, type Section } from './page.ts';
import { clientsPlot, comparesPersonal, namedClients } from './plots/clients.ts';
import { dataPlot, isMixed } from './plots/data.ts';
import { matrixPlot } from './plots/matrix.ts';
import { roundsPlot } from './plots/rounds.ts';
import { trafficPlot } from './plots/traffic.ts';
import { worthPlot } from './plots/worth.ts';
import { privacySection } from './privacy.ts';
import { settingsList } from './settings.ts';
import type { Summary } from './summary.ts';
import { finalTable, qualityTable } from './table.ts';
import { clientTable, leftOutTable, newClientTable, stageMarkup, tableMarkup } from './tables.ts';

/** What a report shows beside the summary. */
export interface ReportExtras {
  /** The text of the run's config.yaml. */
  readonly config?: string;
}

/**
 * The report of a run as one self-contained HTML file: no scripts, no requests, every text in it escaped. Light and dark,
 * on a phone and on paper; figures have their text in true size at two widths.
 */
export function renderReport(summary: Summary, extras: ReportExtras = {}): string {
  return renderPage({
    title: `${summary.model.name}, ${summary.data.name}`,
    fedlora: summary.fedlora,
    head: headSection(summary),
    sections: sectionsOf(summary, extras),
    foot: `Written by fedlora ${summary.fedlora} from summary.json. Losses are nats per labelled token: summed over tokens, then divided.`,
  });
}

function sectionsOf(summary: Summary, extras: ReportExtras): Section[] {
  const matrix = matrixPlot(clientIds(summary), summary.methods);
  const leftOut = leftOutTable(summary);
  const privacy = privacySection(summary);
  const trained = summary.methods.length > 0;
  const sections: (Section | false | undefined)[] = [
    trained && { id: 'worth', short: 'Worth', title: 'What each adapter is worth', body: worth(summary) },
    trained && { id: 'table', short: 'Table', title: 'All results', body: results(summary) },
    trained && { id: 'rounds', short: 'Learning', title: 'How the loss fell, round by round', body: rounds(summary) },
    trained && { id: 'clients', short: 'Clients', title: 'Who gains', body: clients(summary) },
    matrix && {
      id: 'matrix',
      short: 'Matrix',
      title: 'Every personal adapter on every client',
      body: figure(matrixCaption, matrix),
    },
    privacy && { id: 'privacy', short: 'Privacy', title: 'What the clients’ privacy costs', body: privacy },
    { id: 'data', short: 'Data', title: 'Who has which data', body: data(summary) },
    trained && {
      id: 'traffic',
      short: 'Traffic',
      title: 'What was sent',
      body: figure(trafficCaption, trafficPlot(summary)),
    },
    trained && { id: 'stages', short: 'Stages', title: 'Where work and time went', body: stages(summary) },
    leftOut && { id: 'left-out', short: 'Left out', title: 'Clients left out of a round', body: tableMarkup(leftOut) },
    { id: 'settings', short: 'Settings', title: 'Settings', body: settings(summary, extras) },
  ];
  return sections.filter((section) => section !== false && section !== undefined);
}

const worth = (summary: Summary): Markup =>
  figure(
    'Bars show the test loss after training, mean over clients; shorter is better. Pale: the global adapter, the same for every client. Full colour: each client’s personal adapter on its own rows. The dotted line is the model before any training.',
    worthPlot(summary),
  );

function results(summary: Summary): Markup {
  const generated = summary.base.macro.exactMatch !== undefined;
  const newClients = newClientTable(summary);
  return html`<p class="note">
      Test losses first. “Pooled” counts all clients’ test rows together, “mean” is the mean over clients, “own rows” is
      each personal adapter on its client’s rows; its pooled loss shows what it forgot about the
      others.${summary.base.heldOut && ' “Global test rows” are the split file’s own, which are no client’s.'}${
        newClients &&
        ' “New clients” took part in no round and are in no other figure: the mean over them, with the global adapter and after the local stage for each alone.'
      }
      A dash: not measured, or does not apply. ${workNote(summary)}
    </p>
    ${tableMarkup(finalTable(summary))}
    <p class="note">
      How much of the test answers is right, mean over clients. Token accuracy: the most likely next token, given the
      right answer so
      far.${
        generated &&
        ' Exact match and ROUGE-L (shared word order, 100 % is identical) compare answers that the model wrote itself with the references.'
      }
    </p>
    ${tableMarkup(qualityTable(summary))}
    <details>
      <summary>Test loss of every client</summary>
      ${tableMarkup(clientTable(summary))}
    </details>
    ${
      newClients &&
      html`<details>
        <summary>Test loss of new clients</summary>
        ${tableMarkup(newClients)}
      </details>`
    }`;
}

/** Whether the methods did the same work, which a fair comparison needs. */
function workNote(summary: Summary): string {
  const told = summary.methods.flatMap((method) => work(method) ?? []);
  if (summary.methods.some((method) => work(method) === undefined)) {
    return 'With privacy clients do not tell how much they trained, so there is no count of work.';
  }
  if (told.length < 2) return 'Work is the number of labelled tokens trained on, summed over clients.';
  const spread = Math.max(...told) / Math.max(1, Math.min(...told)) - 1;
  return spread <= 0.05
    ? `All methods did equal work to within ${percent(spread)}, in labelled tokens trained on.`
    : `The methods did not do equal work: the most is ${(spread + 1).toFixed(1)} times the least, in labelled tokens trained on. Read differences with that in mind.`;
}

const rounds = (summary: Summary): Markup =>
  figure(
    `Solid: the global adapter’s loss on all clients’ validation rows, after each round, with the last value. Dotted: the clients’ training loss, ending in a ring. Shaded bands are a method’s stages${
      summary.methods.length > 1 ? '; grey lines are the other methods, on the same scale' : ''
    }. A round lets clients train on their own and combines the results.`,
    roundsPlot(summary),
  );

function clients(summary: Summary): Markup {
  const personal = comparesPersonal(summary);
  const [from, to] = personal
    ? ['the global adapter', 'its personal adapter']
    : ['the base model', 'the global adapter'];
  const many = summary.data.clients.length > namedClients;
  const alone =
    personal && summary.methods.some((method) => method.personal && !sharesModel(method))
      ? ' Where nothing was shared, the base model takes the global adapter’s place.'
      : '';
  return html`${figure(
      many
        ? `One bar per client: the change of its test loss from ${from} to ${to}. Below zero the client gains; orange bars lose.${alone}`
        : `One line per client: its test loss with ${from} (ring) and with ${to} (dot, and the number at the right). Orange lines got worse.${alone}`,
      clientsPlot(summary),
    )}
    <p class="note">
      What means hide. Worst 10 %: the mean loss of the tenth of clients that fare worst, at least one. Worse: clients
      whose loss is above what they had before federation, the base model’s, or above training alone.
    </p>
    ${tableMarkup(outcomeTable(summary))}`;
}

const matrixCaption =
  'Row: whose personal adapter. Column: whose test rows; on the diagonal each is at home. Colour compares its loss with the global adapter’s on the same rows (where nothing was shared, with the column’s mean); numbers, where there is room, are losses. A blue diagonal in an orange field is personal knowledge that others do not share.';

const trafficCaption =
  'Bytes each client sent (up, full colour) and received (down, pale) over the whole run, mean over the clients that took part.';

function data(summary: Summary): Markup {
  const { data } = summary;
  const caption =
    data.clients.length > 40
      ? `Partition: ${data.partition}.`
      : isMixed(summary)
        ? `Partition: ${data.partition}. Each bubble’s area is the number of rows of that kind that a client holds, with its total at the right.`
        : `Partition: ${data.partition}. Rows for training (dark), validation and test (paler), with their total.`;
  return figure(caption, dataPlot(summary));
}

const stages = (summary: Summary): Markup =>
  html`<p class="note">
      “Numbers trained” are one client’s. “All tokens” counts prompts too. “Peak memory” is that of the whole process
      while the stage’s rounds ran, with the model and what earlier stages left; in a simulation all clients are in it,
      one at a time. Losses are on test rows, means over clients; a global adapter stays as it is in a local stage.
    </p>
    ${stageMarkup(summary)}`;

const settings = (summary: Summary, extras: ReportExtras): Markup =>
  html`${settingsList(summary)}${
    extras.config !== undefined &&
    html`<details>
      <summary>config.yaml, as resolved</summary>
      <pre>${extras.config}</pre>
    </details>`
  }`;
