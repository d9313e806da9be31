import type { Tokenizer } from './tokenizer.ts';
import type { TokenRow } from './types.ts';

export interface Segment {
  /** Decoded, special tokens written out. */
  readonly text: string;
  /** Learned; the rest is masked. */
  readonly labelled: boolean;
  readonly tokens: number;
}

/** A token row as text, cut where labels change: what the model reads and what it learns to write. */
export function describeRow(row: TokenRow, tokenizer: Pick<Tokenizer, 'decode'>): Segment[] {
  const segments: Segment[] = [];
  for (let from = 0; from < row.ids.length;) {
    const label = row.labelled[from];
    let to = from + 1;
    while (to < row.ids.length && row.labelled[to] === label) to++;
    const text = tokenizer.decode(row.ids.subarray(from, to), { special: true });
    segments.push({ text, labelled: label === 1, tokens: to - from });
    from = to;
  }
  return segments;
}
