import { toMarkdown, type Table } from '../report/table.ts';
import { armOutcomes, newClientValues } from './client-outcomes.ts';
import { analyseSweep } from './compare-arms.ts';
import { armCurves } from './convergence.ts';
import { equalityOf } from './equality.ts';
import type { SweepResults } from './results.ts';
import {
  comparisonTable,
  convergenceTable,
  costTable,
  newClientsTable,
  outcomesTable,
  triedTable,
} from './sweep-table.ts';
import { equalitySentences, headline, title } from './words.ts';

/** Every table of a sweep as Markdown, for a page or a paper: `results.md` in its folder. */
export function sweepMarkdown(results: SweepResults): string {
  const analysis = analyseSweep(results);
  const equality = equalityOf(results);
  const sections: (readonly [string, Table | undefined])[] = [
    ...analysis.comparisons.map((one) => [title(one), comparisonTable(one, analysis.baseline, true)] as const),
    ['Clients beyond the mean', outcomesTable(armOutcomes(results))],
    ['New clients', newClientsTable(newClientValues(results))],
    ['What each arm cost', costTable(equality)],
    ['Whether arms had converged', convergenceTable(armCurves(results))],
    ['What was tried in tuning', triedTable(results.arms)],
  ];
  const tables = sections.flatMap(([name, table]) =>
    table === undefined || table.rows.length === 0 ? [] : [`## ${name}\n\n${toMarkdown(table)}`],
  );
  const sentences = equalitySentences(equality).map((sentence) => `- ${sentence}`);
  return `${[headline(analysis), ...tables, sentences.join('\n')].filter(Boolean).join('\n\n')}\n`;
}
