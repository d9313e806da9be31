import { bytes, duration, epsilon, loss, percent, plain, short } from './format.ts';
import { sharesModel, trafficPerClient, work } from './facts.ts';
import type { MethodSummary, ModelScores, PersonalScores, Summary } from './summary.ts';

/** A table of texts. `right[i]`: column i holds numbers. */
export interface Table {
  readonly head: readonly string[];
  readonly right: readonly boolean[];
  readonly rows: readonly (readonly string[])[];
}

const none = '–';
const optional = (value: number | undefined, show: (value: number) => string): string =>
  value === undefined ? none : show(value);

interface Line {
  readonly name: string;
  /** Absent where clients shared nothing: their global adapter is the untrained start. */
  readonly global: ModelScores | undefined;
  readonly personal: PersonalScores | undefined;
  readonly newClients: { readonly global: ModelScores; readonly personal?: PersonalScores } | undefined;
  readonly method: MethodSummary | undefined;
}

type Column = readonly [head: string, cell: (line: Line) => string];

const linesOf = (summary: Summary): Line[] => [
  {
    name: 'base model',
    global: summary.base,
    personal: undefined,
    newClients: summary.newClients && { global: summary.newClients.base },
    method: undefined,
  },
  ...summary.methods.map((method) => ({
    name: method.label,
    global: sharesModel(method) ? method.global : undefined,
    personal: method.personal,
    newClients: method.newClients,
    method,
  })),
];

const tableOf = (lines: readonly Line[], columns: readonly Column[]): Table => ({
  head: columns.map(([head]) => head),
  right: columns.map((_, i) => i > 0),
  rows: lines.map((line) => columns.map(([, cell]) => cell(line))),
});

const name: Column = ['method', (line) => line.name];

/**
 * The final table: base, then a line a method. Losses are nats per labelled token on held-out test rows: of the global adapter on
 * all rows (pooled) and as mean over clients, of the personal ones on their own rows and on all. Work is labelled tokens through
 * forward and backward, summed over clients.
 */
export function finalTable(summary: Summary): Table {
  const traffic = (line: Line) => line.method && trafficPerClient(line.method);
  return tableOf(linesOf(summary), [
    name,
    ['global, pooled', (line) => optional(line.global?.micro.loss, loss)],
    ['global, mean', (line) => optional(line.global?.macro.loss, loss)],
    ...(summary.base.heldOut
      ? [['global test rows', (line) => optional(line.global?.heldOut?.loss, loss)] satisfies Column]
      : []),
    ['personal, own rows', (line) => optional(line.personal?.macro.loss, loss)],
    ['personal, pooled', (line) => optional(line.personal?.pooledLoss, loss)],
    ...newClientColumns(summary),
    ...privacyColumn(summary),
    ['labelled tokens', (line) => optional(line.method && work(line.method), short)],
    ['up per client', (line) => optional(traffic(line)?.up, bytes)],
    ['down per client', (line) => optional(traffic(line)?.down, bytes)],
    ['time', (line) => optional(line.method?.seconds, duration)],
  ]);
}

/** What each method is worth to clients who took no part: mean over them. */
function newClientColumns({ newClients, methods }: Summary): Column[] {
  if (newClients === undefined) return [];
  const shared = ({ method, newClients: own }: Line) => (method && !sharesModel(method) ? undefined : own?.global);
  return [
    ['new clients, global', (line) => optional(shared(line)?.macro.loss, loss)],
    ...(methods.some((method) => method.newClients?.personal)
      ? [['new clients, personal', (line) => optional(line.newClients?.personal?.macro.loss, loss)] satisfies Column]
      : []),
  ];
}

/** ε of each method, where any has one. */
function privacyColumn({ methods }: Summary): Column[] {
  if (methods.every(({ privacy }) => privacy === undefined)) return [];
  return [['ε', (line) => optional(line.method?.privacy?.epsilon, epsilon)]];
}

/** Shares of right answers, mean over clients: tokens (teacher-forced), and where answers were generated exact match and ROUGE-L. */
export function qualityTable(summary: Summary): Table {
  const lines = linesOf(summary);
  const column = (head: string, of: (macro: ModelScores['macro']) => number | undefined): Column[] => {
    const measured = lines.some((line) => line.global !== undefined && of(line.global.macro) !== undefined);
    const show = (macro: ModelScores['macro'] | undefined) => optional(macro && of(macro), percent);
    if (!measured) return [];
    return [
      [`${head}, global`, (line) => show(line.global?.macro)],
      [`${head}, personal`, (line) => show(line.personal?.macro)],
    ];
  };
  return tableOf(lines, [
    name,
    ...column('token accuracy', (macro) => macro.tokenAccuracy),
    ...column('exact match', (macro) => macro.exactMatch),
    ...column('ROUGE-L', (macro) => macro.rougeL),
  ]);
}

/** A table for a terminal; long heads break into lines. */
export function toText(table: Table): string {
  const heads = table.head.map((head) => wrap(head, 9));
  const height = Math.max(...heads.map((lines) => lines.length));
  const body = table.rows.map((row) => row.map(plain));
  const widths = heads.map((lines, i) => Math.max(...[...lines, ...body.map((row) => row[i]!)].map(columns)));
  const line = (cells: readonly string[]) =>
    cells
      .map((cell, i) => {
        const space = ' '.repeat(widths[i]! - columns(cell));
        return table.right[i] ? space + cell : cell + space;
      })
      .join('  ')
      .trimEnd();
  const headLines = Array.from({ length: height }, (_, row) =>
    line(heads.map((lines) => lines[row - (height - lines.length)] ?? '')),
  );
  const rule = widths.map((width) => '─'.repeat(width)).join('  ');
  return [...headLines, rule, ...body.map(line)].join('\n');
}

/** Columns that a text takes in a terminal, nearly: two for letters of East Asian scripts and for emoji. */
function columns(text: string): number {
  let width = 0;
  for (const character of text) width += character > '\u2e80' && character !== '\ufffd' ? 2 : 1;
  return width;
}

/** A table in GitHub's Markdown. */
export function toMarkdown(table: Table): string {
  const rule = table.right.map((right) => (right ? '--:' : '---'));
  return [table.head, rule, ...table.rows.map((row) => row.map(literal))].map(markdownLine).join('\n');
}

const markdownLine = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
const literal = (cell: string): string => plain(cell).replace(/[\\|<`*_[\]]/g, '\\$&');

function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  for (const word of text.split(' ')) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + 1 + word.length <= width) lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(word);
  }
  return lines;
}
