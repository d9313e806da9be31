import { UserError } from '../errors.ts';
import { count, type Dataset } from './rows.ts';
import type { Template } from './template.ts';
import type { Example, TokenRow } from './types.ts';

export interface ColumnFacts {
  readonly name: string;
  /** Rows that have a value. */
  readonly rows: number;
  readonly distinct: number;
  /** The most frequent values, ties by name. */
  readonly values: readonly { readonly value: string; readonly rows: number }[];
}

/** Lengths at the shares 0, 0.25, 0.5, 0.75, 0.95 and 1 of the rows. */
export type Quantiles = Readonly<Record<'min' | 'p25' | 'median' | 'p75' | 'p95' | 'max', number>>;

export interface DatasetFacts {
  readonly rows: number;
  readonly usable: number;
  readonly dropped: Readonly<Record<string, number>>;
  readonly columns: readonly ColumnFacts[];
  /** Characters of all messages before the response, and of the response. */
  readonly promptCharacters: Quantiles;
  readonly responseCharacters: Quantiles;
  /** Under a template, if one is given. */
  readonly tokenised?: TokenFacts;
  readonly first: Example;
}

export interface TokenFacts {
  readonly tokens: Quantiles;
  /** Rows that the template cuts, and rows that it cannot use. */
  readonly truncated: number;
  readonly dropped: number;
  readonly first: TokenRow;
}

/** What `fedlora inspect DATA` shows of a data set. `shown`: values listed per column. */
export function inspectDataset(data: Dataset, template?: Template, shown = 20): DatasetFacts {
  const prompts = data.examples.map(({ messages }) =>
    messages.slice(0, -1).reduce((sum, { content }) => sum + content.length, 0),
  );
  const responses = data.examples.map(({ messages }) => messages.at(-1)?.content.length ?? 0);
  return {
    rows: data.rows,
    usable: data.examples.length,
    dropped: Object.fromEntries(data.dropped),
    columns: columnFacts(data.examples, shown),
    promptCharacters: quantiles(prompts),
    responseCharacters: quantiles(responses),
    ...(template && { tokenised: tokenFacts(data.examples, template) }),
    first: data.examples[0]!,
  };
}

function columnFacts(examples: readonly Example[], shown: number): ColumnFacts[] {
  const columns = new Map<string, Map<string, number>>();
  for (const example of examples) {
    for (const [name, value] of Object.entries(example.columns)) {
      let counts = columns.get(name);
      if (!counts) columns.set(name, (counts = new Map()));
      count(counts, value);
    }
  }
  return [...columns].map(([name, counts]) => ({
    name,
    rows: [...counts.values()].reduce((sum, rows) => sum + rows, 0),
    distinct: counts.size,
    values: [...counts]
      .map(([value, rows]) => ({ value, rows }))
      .sort((a, b) => b.rows - a.rows || (a.value < b.value ? -1 : 1))
      .slice(0, shown),
  }));
}

function tokenFacts(examples: readonly Example[], template: Template): TokenFacts {
  const rows: TokenRow[] = [];
  let truncated = 0;
  for (const example of examples) {
    const result = template.row(example);
    if ('drop' in result) continue;
    rows.push(result.row);
    if (result.truncated) truncated++;
  }
  const [first] = rows;
  if (first === undefined)
    throw new UserError(`the template leaves nothing to learn in any of ${examples.length} rows`);
  return {
    tokens: quantiles(rows.map(({ ids }) => ids.length)),
    truncated,
    dropped: examples.length - rows.length,
    first,
  };
}

/** Nearest-rank quantiles of at least one number. */
export function quantiles(values: readonly number[]): Quantiles {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (share: number): number => sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)]!;
  return { min: at(0), p25: at(0.25), median: at(0.5), p75: at(0.75), p95: at(0.95), max: at(1) };
}
