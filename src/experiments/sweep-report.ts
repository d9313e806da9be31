import { html, type Markup } from '../report/markup.ts';
import { renderPage, type Section } from '../report/page.ts';
import { tableMarkup } from '../report/tables.ts';
import { version } from '../run/version.ts';
import { analyseSweep, type SweepAnalysis } from './compare-arms.ts';
import type { SweepResults } from './results.ts';
import { comparisonTable, headline, sentences } from './sweep-table.ts';

/** What a sweep's report shows beside its results. */
export interface SweepReportExtras {
  /** The text of the sweep's file. */
  readonly config?: string;
}

/** The report of a sweep as one self-contained HTML file, in the style of a run's. */
export function renderSweepReport(results: SweepResults, extras: SweepReportExtras = {}): string {
  const analysis = analyseSweep(results);
  return renderPage({
    title: `sweep of ${results.arms.length} arms`,
    fedlora: version,
    head: headOf(results, analysis),
    sections: sectionsOf(analysis, extras),
    foot: `Written by fedlora ${version} from the sweep's results. Losses are nats per labelled token: summed over tokens, then divided.`,
  });
}

const headOf = (results: SweepResults, analysis: SweepAnalysis): Markup =>
  html`<p class="kicker">fedlora sweep · ${results.arms.length} arms · ${results.seeds.length} seeds</p>
    <h1>${headline(analysis)}</h1>
    ${sentences(analysis).map((sentence) => html`<p>${sentence}</p>`)}`;

function sectionsOf(analysis: SweepAnalysis, extras: SweepReportExtras): Section[] {
  const tables = analysis.comparisons.filter(({ metric }) => metric === 'loss');
  return [
    {
      id: 'table',
      short: 'Table',
      title: 'All arms',
      body: html`${tables.map((one) => tableMarkup(comparisonTable(one, analysis.baseline)))}`,
    },
    ...(extras.config === undefined
      ? []
      : [{ id: 'settings', short: 'Settings', title: 'Settings', body: html`<pre>${extras.config}</pre>` }]),
  ];
}
