import { readFileSync } from 'node:fs';
import { Tokenizer as Library } from '@huggingface/tokenizers';
import * as fc from 'fast-check';
import { expect, it } from 'vitest';
import { needs, shared } from '../../tests/shared.ts';
import { rememberWords } from './word-cache.ts';

interface File {
  readonly model: Readonly<Record<string, unknown>>;
  readonly [key: string]: unknown;
}

const parts = fc.oneof(
  fc.constantFrom(
    ' ',
    '  ',
    '▁',
    ' ▁',
    '\n',
    '\n\n ',
    'the',
    ' The',
    'ing',
    '1234',
    "'s",
    '</s>',
    '. ',
    'naïve',
    '😀',
    '日本',
  ),
  fc.string({ unit: 'binary', maxLength: 6 }),
);
const texts = fc.array(parts, { maxLength: 30 }).map((some) => some.join(''));

const same = (file: File, numRuns: number): void => {
  const plain = new Library(file, {});
  const quick = new Library(file, {});
  rememberWords(quick.model, file.model);
  fc.assert(
    fc.property(texts, (text) => {
      expect(quick.encode(text).ids).toEqual(plain.encode(text).ids);
      expect(quick.encode(text).ids).toEqual(plain.encode(text).ids);
    }),
    { numRuns },
  );
};

for (const folder of ['models/smollm2-135m-instruct', 'tokenizers/gpt2', 'tokenizers/llama2-32k']) {
  const path = shared(folder, 'tokenizer.json');
  it.skipIf(path === undefined)(`${folder} gives the same ids with words remembered ${needs(folder)}`, () => {
    same(JSON.parse(readFileSync(path!, 'utf8')) as File, 200);
  });
}

/** A small SentencePiece-like model: spaces become ▁, a text is one word. */
function spaced(merges: readonly (string | readonly string[])[]): File {
  const pieces = merges.map((merge) => (typeof merge === 'string' ? merge.replace(' ', '') : merge.join('')));
  const vocab = ['<unk>', '▁', ...Array.from('abcdefghijklmnopqrstuvwxyz'), ...pieces];
  return {
    added_tokens: [],
    normalizer: { type: 'Replace', pattern: { String: ' ' }, content: '▁' },
    pre_tokenizer: null,
    post_processor: null,
    decoder: null,
    model: {
      type: 'BPE',
      unk_token: '<unk>',
      vocab: Object.fromEntries(vocab.map((piece, id) => [piece, id])),
      merges,
    },
  };
}

const asked = (file: File, text: string): string[] => {
  const words: string[] = [];
  const library = new Library(file, {});
  const model = library.model!;
  const encode = model.encode.bind(model);
  model.encode = (tokens: string[]) => {
    words.push(...tokens);
    return encode(tokens);
  };
  rememberWords(model, file.model);
  library.encode(text);
  return words;
};

it('goes word by word only where no merge can reach over a border', () => {
  const kept = spaced(['t h', '▁ ▁', '▁ th', '▁th e']);
  same(kept, 300);
  expect(asked(kept, 'the the  the the')).toEqual(['the', '▁the', '▁▁the']);
  for (const crossing of [
    ['e', '▁'],
    ['e', '▁th'],
    ['the▁t', 'h'],
  ] as const) {
    const file = spaced([['t', 'h'], ['▁', 'th'], ['th', 'e'], crossing]);
    same(file, 300);
    expect(asked(file, 'the the')).toEqual(['the▁the']);
  }
  const suffixed = { ...kept, model: { ...kept.model, end_of_word_suffix: '</w>' } };
  expect(asked(suffixed, 'the the')).toEqual(['the▁the']);
});

it('leaves other models alone', () => {
  const model = { encode: (tokens: string[]) => tokens };
  const { encode } = model;
  rememberWords(model, { type: 'Unigram' });
  expect(model.encode).toBe(encode);
  rememberWords(null, { type: 'BPE' });
});
