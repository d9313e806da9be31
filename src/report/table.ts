import { bytes, duration, loss, percent, short } from './format.ts';
import type { MethodSummary, ModelScores, Summary } from './summary.ts';

/** A table of texts. `right[i]`: column i holds numbers. */
export interface Table {
  readonly head: readonly string[];
  readonly right: readonly boolean[];
  readonly rows: readonly (readonly string[])[];
}

type Macro = ModelScores['macro'];

/** Bytes up and down of a method, mean over the clients it reached; undefined where nothing was sent. */
export function trafficPerClient(method: MethodSummary): { readonly up: number; readonly down: number } | undefined {
  const clients = new Set(method.stages.flatMap((stage) => Object.keys(stage.traffic)));
  if (clients.size === 0) return undefined;
  const all = method.stages.flatMap((stage) => Object.values(stage.traffic));
  const up = all.reduce((sum, traffic) => sum + traffic.up, 0) / clients.size;
  const down = all.reduce((sum, traffic) => sum + traffic.down, 0) / clients.size;
  return up + down > 0 ? { up, down } : undefined;
}

const none = '–';
const pair = (global: number | undefined, personal: number | undefined): string =>
  `${global === undefined ? none : percent(global)} / ${personal === undefined ? none : percent(personal)}`;

interface Line {
  readonly name: string;
  readonly global: ModelScores;
  readonly personal: Macro | undefined;
  readonly pooled: number | undefined;
  readonly method: MethodSummary | undefined;
}

/**
 * The final table: base, then a line a method. Losses are nats per labelled token on held-out test rows; `work` is labelled
 * tokens through forward and backward, summed over clients. Exact match and ROUGE-L only where answers were generated.
 */
export function finalTable(summary: Summary): Table {
  const lines: Line[] = [
    { name: 'base model', global: summary.base, personal: undefined, pooled: undefined, method: undefined },
    ...summary.methods.map((method) => ({
      name: method.label,
      global: method.global,
      personal: method.personal?.macro,
      pooled: method.personal?.pooledLoss,
      method,
    })),
  ];
  const generated = lines.some((line) => line.global.macro.exactMatch !== undefined);
  const columns: readonly [string, boolean, (line: Line) => string][] = [
    ['method', false, (line) => line.name],
    ['global: pooled loss', true, (line) => loss(line.global.micro.loss)],
    ['global: mean over clients', true, (line) => loss(line.global.macro.loss)],
    ['personal: mean over clients', true, (line) => (line.personal ? loss(line.personal.loss) : none)],
    ['personal: pooled loss', true, (line) => (line.pooled === undefined ? none : loss(line.pooled))],
    [
      'token accuracy, global / personal',
      true,
      (line) => pair(line.global.macro.tokenAccuracy, line.personal?.tokenAccuracy),
    ],
    ...(generated
      ? ([
          ['exact match', true, (line) => pair(line.global.macro.exactMatch, line.personal?.exactMatch)],
          ['ROUGE-L', true, (line) => pair(line.global.macro.rougeL, line.personal?.rougeL)],
        ] satisfies [string, boolean, (line: Line) => string][])
      : []),
    ['work (labelled tokens)', true, (line) => (line.method ? short(line.method.labelledTokens) : none)],
    [
      'up / down per client',
      true,
      (line) => {
        const traffic = line.method && trafficPerClient(line.method);
        return traffic ? `${bytes(traffic.up)} / ${bytes(traffic.down)}` : none;
      },
    ],
    ['time', true, (line) => (line.method ? duration(line.method.seconds) : none)],
  ];
  return {
    head: columns.map(([head]) => head),
    right: columns.map(([, right]) => right),
    rows: lines.map((line) => columns.map(([, , cell]) => cell(line))),
  };
}

/** A table for a terminal; long heads break into lines. */
export function toText(table: Table): string {
  const heads = table.head.map((head) => wrap(head, 12));
  const height = Math.max(...heads.map((lines) => lines.length));
  const widths = table.head.map((_, i) =>
    Math.max(...heads[i]!.map((line) => line.length), ...table.rows.map((row) => row[i]!.length)),
  );
  const line = (cells: readonly string[]) =>
    cells
      .map((cell, i) => (table.right[i] ? cell.padStart(widths[i]!) : cell.padEnd(widths[i]!)))
      .join('  ')
      .trimEnd();
  const headLines = Array.from({ length: height }, (_, row) =>
    line(heads.map((lines) => lines[row - (height - lines.length)] ?? '')),
  );
  const rule = widths.map((width) => '─'.repeat(width)).join('  ');
  return [...headLines, rule, ...table.rows.map((row) => line(row.map(printable)))].join('\n');
}

/** A table in GitHub's Markdown. */
export function toMarkdown(table: Table): string {
  const rule = table.right.map((right) => (right ? '--:' : '---'));
  return [table.head, rule, ...table.rows.map((row) => row.map(literal))].map(markdownLine).join('\n');
}

const markdownLine = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
const literal = (cell: string): string => printable(cell).replace(/[\\|<`*_[\]]/g, '\\$&');

// Control characters in a name must not move the terminal's cursor or break the table.
// oxlint-disable-next-line no-control-regex -- they are what is replaced
const printable = (text: string): string => text.replace(/[\x00-\x1f\x7f-\x9f\u2028\u2029]/g, '\ufffd');

function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  for (const word of text.split(' ')) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + 1 + word.length <= width) lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(word);
  }
  return lines;
}
