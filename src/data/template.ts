import { UserError } from '../errors.ts';
import { alpacaPieces, chatPieces, plainPieces, type Piece, type Pieces, type TemplateTokenizer } from './pieces.ts';
import { shortened } from './shorten.ts';
import type { Example, TokenRow } from './types.ts';

export interface TemplateOptions {
  readonly template: 'chat' | 'alpaca' | 'plain';
  /** Tokens per row at most. */
  readonly maxLength: number;
  readonly system?: string;
  readonly separator?: string;
}

export type Tokenised = { readonly row: TokenRow; readonly truncated: boolean } | { readonly drop: string };

/** Turns examples into token rows, and into prompts for generation. */
export interface Template {
  /**
   * Tokens with every response labelled; tokens after the last labelled one teach nothing and are left out.
   * Above `maxLength` the last response loses tokens from its end, down to a quarter of `maxLength`; then the longest text
   * before it loses its middle, and the next longest, so that the template's own marks stay whole. Only where the marks alone
   * are too long are they cut in their middle too.
   * A row in which no response token can remain is dropped.
   */
  row(example: Example): Tokenised;
  /** The tokens before the last response, as in training; cut likewise where they leave no room for `newTokens` within `maxLength`. */
  prompt(example: Example, newTokens?: number): Int32Array;
  /** Ids that end a response: end of sequence, and the template's end of turn. */
  readonly stop: readonly number[];
}

/** A template over a tokenizer. Throws UserError where the tokenizer cannot serve it (no chat template, no end of sequence). */
export function createTemplate(options: TemplateOptions, tokenizer: TemplateTokenizer): Template {
  const { maxLength } = options;
  if (!Number.isSafeInteger(maxLength) || maxLength < 2)
    throw new UserError(`data.maxLength must be a whole number of at least 2, not ${maxLength}`);
  const pieces = piecesOf(options, tokenizer);
  const tokenise = tokeniserOf(tokenizer);
  const whole = (example: Example): Tokens => {
    const { prompt, response } = pieces(example);
    return tokenise([...prompt, ...response]);
  };
  const parts = options.template === 'alpaca';
  return {
    row(example) {
      const { id } = example;
      const tokens = whole(example);
      const { start, room } = borders(tokens, maxLength);
      if (start <= room) return fitted(id, tokens, maxLength);
      const cut = shortened(example, room, (shorter) => borders(whole(shorter), maxLength).start, parts);
      const result = fitted(id, whole(cut), maxLength);
      return 'row' in result ? { ...result, truncated: true } : result;
    },
    prompt(example, newTokens = 0) {
      const promptOf = (of: Example): readonly number[] => tokenise(pieces(of).prompt).ids;
      const room = Math.max(1, maxLength - newTokens);
      let ids = promptOf(example);
      if (ids.length > room) ids = promptOf(shortened(example, room, (shorter) => promptOf(shorter).length, parts));
      const [head, tail] = kept(ids.length, room);
      return new Int32Array([...ids.slice(0, head), ...ids.slice(ids.length - tail)]);
    },
    stop: stopsOf(pieces, tokenise, tokenizer),
  };
}

function piecesOf(options: TemplateOptions, tokenizer: TemplateTokenizer): Pieces {
  if (options.template === 'chat') return chatPieces(tokenizer, options.system);
  const pieces =
    options.template === 'alpaca' ? alpacaPieces(tokenizer) : plainPieces(tokenizer, options.separator ?? '\n');
  const { system } = options;
  if (system === undefined) return pieces;
  return (example) =>
    pieces({
      ...example,
      messages: [
        ...(example.messages[0]?.role === 'system' ? [] : [{ role: 'system', content: system } as const]),
        ...example.messages,
      ],
    });
}

interface Tokens {
  readonly ids: readonly number[];
  readonly labelled: readonly number[];
}

/**
 * Pieces to tokens. Byte-level tokenizers give each piece its own tokens, so that training sees exactly the prompt that
 * generation is fed. Others (SentencePiece puts a space before every text) see the joined text; a token that spans a
 * border then belongs to the later piece.
 */
function tokeniserOf(tokenizer: TemplateTokenizer): (pieces: readonly Piece[]) => Tokens {
  const parts = [...tokenizer.encode('Say:\n'), ...tokenizer.encode('Yes, a word')];
  const joined = tokenizer.encode('Say:\nYes, a word');
  const separable = joined.length === parts.length && parts.every((id, i) => joined[i] === id);
  return (pieces) => {
    const ids: number[] = [];
    const labelled: number[] = [];
    const add = (some: Iterable<number>, label: boolean): void => {
      for (const id of some) {
        ids.push(id);
        labelled.push(label ? 1 : 0);
      }
    };
    for (let i = 0; i < pieces.length; i++) {
      const piece = pieces[i]!;
      if ('ids' in piece) add(piece.ids, piece.labelled);
      else if (separable) add(tokenizer.encode(piece.text), piece.labelled);
      else {
        const run: { text: string; labelled: boolean }[] = [];
        for (let next: Piece | undefined = piece; next !== undefined && 'text' in next; next = pieces[i + run.length])
          run.push(next);
        i += run.length - 1;
        addJoined(tokenizer, run, add);
      }
    }
    return { ids, labelled };
  };
}

function addJoined(
  tokenizer: TemplateTokenizer,
  run: readonly { readonly text: string; readonly labelled: boolean }[],
  add: (ids: Iterable<number>, label: boolean) => void,
): void {
  const all = tokenizer.encode(run.map(({ text }) => text).join(''));
  let text = '';
  let from = 0;
  run.forEach((piece, i) => {
    text += piece.text;
    let to = all.length;
    if (i < run.length - 1) {
      const alone = tokenizer.encode(text);
      to = from;
      while (to < alone.length && alone[to] === all[to]) to++;
    }
    add(all.subarray(from, to), piece.labelled);
    from = to;
  });
}

/** Where the last response begins and ends, and how many tokens there is room for before it. */
function borders({ labelled }: Tokens, maxLength: number): { start: number; end: number; room: number } {
  const end = labelled.lastIndexOf(1) + 1;
  const start = end === 0 ? 0 : labelled.lastIndexOf(0, end - 1) + 1;
  const least = Math.min(start, Math.max(1, Math.floor((3 * maxLength) / 4)));
  return { start, end, room: Math.max(maxLength - (end - start), least) };
}

function fitted(id: string, tokens: Tokens, maxLength: number): Tokenised {
  const { start, end, room } = borders(tokens, maxLength);
  if (end === 0) return { drop: 'no tokens in the response' };
  const [head, tail] = kept(start, room);
  const part = (values: readonly number[]): readonly number[] =>
    head === start && end <= maxLength
      ? values.slice(0, end)
      : [...values.slice(0, head), ...values.slice(start - tail, end)].slice(0, maxLength);
  const labelled = new Uint8Array(part(tokens.labelled));
  // Nothing comes before the first token from which it could be predicted, nor its own past before the first after a cut.
  labelled[0] = 0;
  if (head + tail < start && tail > 0) labelled[head] = 0;
  const length = labelled.lastIndexOf(1) + 1;
  if (length === 0) return { drop: 'no response token has one before it' };
  return {
    row: { id, ids: new Int32Array(part(tokens.ids).slice(0, length)), labelled: labelled.slice(0, length) },
    truncated: end > maxLength,
  };
}

/** How many of so many tokens stay at the beginning and at the end where there is room for only some. */
function kept(tokens: number, room: number): readonly [head: number, tail: number] {
  if (tokens <= room) return [tokens, 0];
  return [Math.floor(room / 2), Math.ceil(room / 2)];
}

function stopsOf(
  pieces: Pieces,
  tokenise: (pieces: readonly Piece[]) => Tokens,
  tokenizer: TemplateTokenizer,
): readonly number[] {
  const probe: Example = {
    id: 'probe',
    messages: [
      { role: 'user', content: 'a' },
      { role: 'assistant', content: 'b' },
    ],
    references: ['b'],
    columns: {},
  };
  const { prompt, response } = pieces(probe);
  const { ids, labelled } = tokenise([...prompt, ...response]);
  const last = ids[labelled.lastIndexOf(1)];
  return [...new Set([tokenizer.eosId, last])].filter((id) => id !== undefined);
}
