import { html, type Markup } from '../report/markup.ts';
import { figure, renderPage, type Section } from '../report/page.ts';
import { matrixPlot } from '../report/plots/matrix.ts';
import { optionsText } from '../report/settings.ts';
import { tableMarkup } from '../report/tables.ts';
import { version } from '../run/version.ts';
import { armOutcomes, newClientValues } from './client-outcomes.ts';
import { alpha, analyseSweep, claimedSeeds, type Comparison, type SweepAnalysis } from './compare-arms.ts';
import { armCurves, convergedWithin, fewestPoints, type ArmCurve } from './convergence.ts';
import { equalityOf } from './equality.ts';
import { clientDifferencesPlot } from './plots/client-differences.ts';
import { curvesPlot } from './plots/curves.ts';
import { meanMatrices } from './mean-matrices.ts';
import { forestPlot } from './plots/forest.ts';
import type { SweepResults } from './results.ts';
import {
  comparisonTable,
  convergenceTable,
  costTable,
  newClientsTable,
  outcomesTable,
  triedTable,
} from './sweep-table.ts';
import {
  comparisonName,
  equalityNote,
  equalitySentences,
  headline,
  mainComparison,
  sentences,
  title,
} from './words.ts';

/** What a sweep's report shows beside its results. */
export interface SweepReportExtras {
  /** The text of the sweep's file. */
  readonly config?: string;
}

/** The report of a sweep as one self-contained HTML file, in the style of a run's. */
export function renderSweepReport(results: SweepResults, extras: SweepReportExtras = {}): string {
  const analysis = analyseSweep(results);
  return renderPage({
    title: `sweep, ${results.arms.length} arms against ${results.baseline}`,
    fedlora: version,
    head: headOf(results, analysis),
    sections: sectionsOf(results, analysis, extras),
    foot: `Written by fedlora ${version} from the sweep's results. Losses are nats per labelled token: summed over tokens, then divided.`,
  });
}

function headOf({ arms, seeds, cells }: SweepResults, analysis: SweepAnalysis): Markup {
  const main = mainComparison(analysis);
  return html`<p class="kicker">
      fedlora sweep · ${arms.length} arms · seeds ${seeds.join(', ')} · ${cells.length} of ${arms.length * seeds.length}
      runs done
    </p>
    <h1>${headline(analysis)}</h1>
    <p class="lead">
      Every arm was trained with the same seeds; a seed fixes the first adapter, the split and the order of batches, so
      that arms are compared pair by pair within a seed.
      ${main && html`The headline is about ${comparisonName(main)} on test rows that nobody trained on.`} Lower is
      better.
    </p>`;
}

function sectionsOf(results: SweepResults, analysis: SweepAnalysis, extras: SweepReportExtras): Section[] {
  const order = results.arms.map(({ label }) => label);
  const curves = armCurves(results);
  const compared = analysis.comparisons.filter(({ differences }) => differences.length > 0);
  const main = mainComparison(analysis);
  const { ids, methods } = meanMatrices(results);
  const matrix = matrixPlot(ids, methods);
  const sections: (Section | false | undefined)[] = [
    compared.length > 0 && {
      id: 'differences',
      short: 'Differences',
      title: `Differences from ${analysis.baseline}`,
      body: forests(compared, analysis, order),
    },
    { id: 'table', short: 'Table', title: 'All arms', body: tables(analysis) },
    curves.length > 0 && {
      id: 'curves',
      short: 'Curves',
      title: 'Had the arms converged?',
      body: learning(curves, order),
    },
    {
      id: 'clients',
      short: 'Clients',
      title: 'Clients beyond the mean',
      body: clients(results, analysis, main, order),
    },
    matrix && {
      id: 'matrix',
      short: 'Matrix',
      title: 'Every personal adapter on every client',
      body: figure(matrixCaption, matrix),
    },
    { id: 'equal', short: 'Equal', title: 'What was equal between the arms', body: equal(results) },
    { id: 'tuning', short: 'Tuning', title: 'What was tried', body: tuning(results) },
    extras.config !== undefined && {
      id: 'settings',
      short: 'Settings',
      title: 'Settings',
      body: html`<pre>${extras.config}</pre>`,
    },
  ];
  return sections.filter((section) => section !== false && section !== undefined);
}

const forests = (compared: readonly Comparison[], analysis: SweepAnalysis, order: readonly string[]): Markup =>
  html`<p class="note">
      Thick line: 95 % t interval over seeds, what to expect of these clients under other seeds. Dotted: 95 % cluster
      bootstrap over clients with these seeds, how much hangs on which clients took part. A filled dot is a claim: at
      least ${claimedSeeds} seeds, and p below ${alpha} after Holm’s correction across the arms of one figure. A ring is
      none.
    </p>
    ${compared
      .filter(({ metric }) => metric === 'loss')
      .map(
        (one) =>
          html`${figure(`The difference in ${comparisonName(one)} from ${analysis.baseline}.`, forestPlot(one, analysis, order))}
            <ul>
              ${sentences(one, analysis.baseline).map((sentence) => html`<li>${sentence}</li> `)}
            </ul>`,
      )}`;

function tables({ comparisons, baseline }: SweepAnalysis): Markup {
  const table = (one: Comparison) =>
    html`<h3>${title(one)}</h3>
      ${tableMarkup(comparisonTable(one, baseline, true))}`;
  const others = comparisons.filter(({ metric }) => metric !== 'loss');
  return html`<p class="note">
      Means over clients, then mean ± standard deviation over seeds. Each client’s own model is its personal one, or the
      global one where a method makes none. Holm’s correction is across the arms of one table, not across tables.
    </p>
    ${comparisons.filter(({ metric }) => metric === 'loss').map(table)}
    ${
      others.length > 0 &&
      html`<details>
        <summary>Shares of right answers</summary>
        <p class="note">Token accuracy is teacher-forced. Differences are in percentage points; above 0 is better.</p>
        ${others.map(table)}
      </details>`
    }`;
}

const learning = (curves: readonly ArmCurve[], order: readonly string[]): Markup =>
  html`${figure(
      'The global model’s loss on all clients’ validation rows, mean over seeds, with the range over seeds as a band; grey lines are the other arms, dotted lines the turns from stage to stage.',
      curvesPlot(curves, order),
    )}
    <p class="note">
      A stage counts as converged where the mean loss of its last fifth of points is less than
      ${`${100 * convergedWithin} %`} away from that of the fifth before; with fewer than ${fewestPoints} points there
      is nothing to say. Differences between arms that have not converged may turn with more work.
    </p>
    ${tableMarkup(convergenceTable(curves))}`;

function clients(
  results: SweepResults,
  analysis: SweepAnalysis,
  main: Comparison | undefined,
  order: readonly string[],
): Markup {
  const newClients = newClientsTable(newClientValues(results));
  return html`<p class="note">
      Means over seeds. Worst 10 %: the mean loss of the tenth of clients that fare worst, at least one. Worse: clients
      whose loss is above the base model’s on the same rows, that is above what they had before federation, or above
      training alone.
    </p>
    ${tableMarkup(outcomesTable(armOutcomes(results)))}
    ${
      newClients &&
      html`<p class="note">New clients took part in no round and are in no other figure; mean ± sd over seeds.</p>
        ${tableMarkup(newClients)}`
    }
    ${
      main &&
      figure(
        `One dot per client: its difference in ${comparisonName(main)} from ${analysis.baseline}, mean over seeds; the bar is the mean over clients. Orange dots are clients for whom the arm is worse.`,
        clientDifferencesPlot(main, analysis.baseline, order),
      )
    }`;
}

const matrixCaption =
  'Mean over seeds. Row: whose personal adapter. Column: whose test rows; on the diagonal each is at home. Colour compares its loss with the global adapter’s on the same rows (where nothing was shared, with the column’s mean); numbers, where there is room, are losses.';

function equal(results: SweepResults): Markup {
  const equality = equalityOf(results);
  return html`<ul>
      ${equalitySentences(equality).map((sentence) => html`<li>${sentence}</li> `)}
    </ul>
    <p class="note">${equalityNote}</p>
    ${tableMarkup(costTable(equality))}`;
}

function tuning({ arms }: SweepResults): Markup {
  const tried = triedTable(arms);
  return html`<p class="note">
      ${tried ? 'Values are chosen by the loss on validation rows; test rows take no part.' : 'Nothing was tuned in this sweep.'}
      Below are the options that each arm was run with.
    </p>
    ${tried && tableMarkup(tried)}
    <dl>
      ${arms.map(
        ({ label, use, options, run = {} }) =>
          html`<dt>${label}</dt>
            <dd>
              ${[use, [optionsText(options), optionsText(run)].filter((part) => part !== '').join(', ')]
                .filter((part) => part !== '')
                .join(': ')}
            </dd> `,
      )}
    </dl>`;
}
