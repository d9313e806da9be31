import { outcomeOf, type ClientScores, type Outcome } from '../evaluate/outcomes.ts';
import { sharesModel } from './facts.ts';
import { loss } from './format.ts';
import type { MethodSummary, Summary } from './summary.ts';
import type { Table } from './table.ts';

/** What means hide, a line per model of each method: worst tenth of clients, variance over clients, clients worse off than before or than alone. */
export function outcomeTable(summary: Summary): Table {
  const alone = summary.methods.find(({ use }) => use === 'local-only')?.personal?.clients;
  const line = (name: string, scores: ClientScores, local?: ClientScores) => ({
    name,
    outcome: outcomeOf(scores, summary.base.clients, local),
  });
  const lines = [
    line('base model', summary.base.clients),
    ...summary.methods.flatMap((method) =>
      modelsOf(method).map(([name, scores]) => line(name, scores, scores === alone ? undefined : alone)),
    ),
  ];
  const cells = ({ clients, worst, variance, worseThanBase, worseThanLocal }: Outcome, base: boolean) => [
    loss(worst),
    variance.toPrecision(3),
    base ? '–' : named(worseThanBase, clients),
    ...(alone ? [worseThanLocal && !base ? named(worseThanLocal, clients) : '–'] : []),
  ];
  const head = [
    'model',
    'worst 10 % of clients',
    'variance over clients',
    'worse than base',
    ...(alone ? ['worse than local only'] : []),
  ];
  return {
    head,
    right: head.map((_, i) => i === 1 || i === 2),
    rows: lines.map(({ name, outcome }, i) => [name, ...cells(outcome, i === 0)]),
  };
}

const modelsOf = (method: MethodSummary): (readonly [name: string, scores: ClientScores])[] => [
  ...(sharesModel(method) ? [[`${method.label}: global`, method.global.clients] as const] : []),
  ...(method.personal ? [[`${method.label}: personal`, method.personal.clients] as const] : []),
];

function named(worse: readonly string[], clients: number): string {
  if (worse.length === 0) return `0 of ${clients}`;
  if (worse.length === clients && clients > 1) return `all ${clients}`;
  const more = worse.length > 3 ? `, ${worse.length - 3} more` : '';
  return `${worse.length} of ${clients}: ${worse.slice(0, 3).join(', ')}${more}`;
}
