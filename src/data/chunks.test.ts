import { readFileSync } from 'node:fs';
import { Tokenizer as Library } from '@huggingface/tokenizers';
import * as fc from 'fast-check';
import { expect, it } from 'vitest';
import { needs, shared } from '../../tests/shared.ts';
import { chunkwise } from './chunks.ts';

type File = Readonly<Record<string, unknown>>;

const parts = fc.oneof(
  fc.constantFrom(
    ' ',
    '  ',
    '\n',
    ' \n ',
    '\r\n\n',
    '\t',
    '\u00A0',
    'the',
    ' The',
    ' a',
    '12',
    ' 1234',
    "'s",
    "n't",
    '<|e|>',
    '. ',
    ' .',
    '½',
    ' 😀',
    'é',
    '日本',
  ),
  fc.string({ unit: 'binary', maxLength: 5 }),
);
const texts = fc.array(parts, { maxLength: 30 }).map((some) => some.join(''));

function same(file: File, numRuns: number): void {
  const library = new Library(file, {});
  const whole = (text: string): number[] => library.encode(text, { add_special_tokens: false }).ids;
  const chunked = chunkwise(whole, file, {});
  expect(chunked).toBeDefined();
  fc.assert(
    fc.property(texts, (text) => {
      expect(Array.from(chunked!(text))).toEqual(whole(text));
      expect(Array.from(chunked!(text))).toEqual(whole(text));
    }),
    { numRuns },
  );
}

for (const folder of ['models/smollm2-135m-instruct', 'tokenizers/gpt2']) {
  const path = shared(folder, 'tokenizer.json');
  it.skipIf(path === undefined)(`${folder} gives the same ids stretch by stretch ${needs(folder)}`, () => {
    same(JSON.parse(readFileSync(path!, 'utf8')) as File, 300);
  });
}

const ALPHABET = Array.from({ length: 256 }, (_, byte) => {
  const printable = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
  const before = byte < 33 ? byte : byte < 161 ? byte - 127 + 33 : 67;
  return String.fromCharCode(printable ? byte : 256 + before);
});

/** A byte-level model with merges that would show a wrong cut: over spaces after other characters, and over line breaks. */
function byteLevel(steps: readonly object[], change: File = {}): File {
  const merges = ['Ġ t', 't h', 'Ġt h', 'Ġth e', 'e Ġ', '. Ġ', 'Ġ Ġ', 'Ċ Ċ', '1 2', '12 3', 'Ġ a', ', Ġ'];
  const vocab = [...ALPHABET, ...merges.map((merge) => merge.replace(' ', ''))];
  return {
    added_tokens: [{ id: 900, content: '<|e|>', special: true, normalized: false, lstrip: false, rstrip: false }],
    normalizer: null,
    pre_tokenizer: { type: 'Sequence', pretokenizers: steps },
    post_processor: null,
    decoder: null,
    model: { type: 'BPE', unk_token: null, vocab: Object.fromEntries(vocab.map((piece, id) => [piece, id])), merges },
    ...change,
  };
}

const bytes = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true };
const mapped = { ...bytes, use_regex: false };
const split = (Regex: string): object => ({ type: 'Split', pattern: { Regex }, behavior: 'Isolated', invert: false });
const llama3 =
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

it.each([
  ['GPT-2', [bytes]],
  ['digits, then GPT-2', [{ type: 'Digits', individual_digits: true }, bytes]],
  ['numbers, then GPT-2', [split('\\p{N}{1,3}'), bytes]],
  ['Llama 3', [split(llama3), mapped]],
  ['Qwen 2', [split(llama3.replace('{1,3}', '')), mapped]],
])('the splitting of %s allows it', (_, steps) => {
  same(byteLevel(steps), 400);
});

it('is refused wherever a cut could matter', () => {
  const refused = (file: File, config: File = {}): void => {
    expect(chunkwise(() => [], file, config)).toBeUndefined();
  };
  expect(chunkwise(() => [], byteLevel([bytes]), {})).toBeDefined();
  refused(byteLevel([split('\\s?\\p{L}+'), mapped]));
  refused(byteLevel([mapped]));
  refused(byteLevel([split('\\p{N}'), mapped]));
  refused(byteLevel([{ ...bytes, add_prefix_space: true }]));
  refused(byteLevel([bytes], { normalizer: { type: 'NFC' } }));
  refused(byteLevel([bytes], { model: { type: 'Unigram' } }));
  refused(byteLevel([bytes], { pre_tokenizer: null }));
  refused(byteLevel([bytes], { added_tokens: [{ content: '<mask>', lstrip: true }] }));
  refused(byteLevel([bytes], { added_tokens: [{ content: 'two words' }] }));
  refused(byteLevel([bytes]), { remove_space: true });
});
