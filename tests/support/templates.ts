import { describeRow } from '../../src/data/describe.ts';
import type { Template } from '../../src/data/template.ts';
import type { Example, Message, TokenRow } from '../../src/data/types.ts';
import { byteTokenizer } from './byte-tokenizer.ts';

// What tests of templates share: conversations, and rows as text.

/** A conversation whose turns are the user's and the assistant's in alternation. */
export const say = (...turns: string[]): Message[] =>
  turns.map((content, i) => ({ role: i % 2 === 0 ? 'user' : 'assistant', content }));

export const example = (messages: readonly Message[], parts?: Example['parts']): Example => ({
  id: 'r1',
  messages,
  references: [messages.at(-1)!.content],
  columns: {},
  ...(parts && { parts }),
});

export function rowOf(template: Template, messages: readonly Message[], parts?: Example['parts']): TokenRow {
  const result = template.row(example(messages, parts));
  if ('drop' in result) throw new Error(`dropped: ${result.drop}`);
  return result.row;
}

export const bytes = byteTokenizer();
/** The row's text with what is learnt in brackets. */
export const marked = (row: TokenRow, tokenizer = bytes): string =>
  describeRow(row, tokenizer)
    .map(({ text, labelled }) => (labelled ? `[${text}]` : text))
    .join('');
