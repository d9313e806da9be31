import { html, type Markup } from './markup.ts';
import type { Summary } from './summary.ts';
import { finalTable, type Table } from './table.ts';

/** What a report shows beside the summary. */
export interface ReportExtras {
  /** The text of the run's config.yaml. */
  readonly config?: string;
}

/** The report of a run: one self-contained HTML file, without scripts or requests; every text in it is escaped. */
export function renderReport(summary: Summary, extras: ReportExtras = {}): string {
  return html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <title>fedlora report</title>
      </head>
      <body>
        ${tableMarkup(finalTable(summary))}${extras.config !== undefined && html`<pre>${extras.config}</pre>`}
      </body>
    </html> `.markup;
}

const tableMarkup = (table: Table): Markup =>
  html`<table>
    <thead>
      <tr>
        ${table.head.map((head) => html`<th>${head}</th>`)}
      </tr>
    </thead>
    <tbody>
      ${table.rows.map(
        (row) =>
          html`<tr>
            ${row.map((cell) => html`<td>${cell}</td>`)}
          </tr>`,
      )}
    </tbody>
  </table>`;
