import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { golden, needs, shared } from '../../tests/shared.ts';
import { UserError } from '../errors.ts';
import { createTokenizer, type TokenizerFiles } from './tokenizer.ts';
import type { Message } from './types.ts';

interface Case {
  readonly text: string;
  readonly ids: number[];
  readonly decoded: string;
  readonly decoded_skip_special: string;
  readonly ids_add_special_tokens?: number[];
}
interface Rendered {
  readonly text: string;
  readonly ids: number[];
}
interface Golden {
  readonly tokenizer_sha256: string;
  readonly cases: readonly Case[];
  readonly chat?: readonly {
    readonly messages: readonly Message[];
    readonly without_generation_prompt: Rendered;
    readonly with_generation_prompt: Rendered;
  }[];
}

const json = (path: string): unknown => JSON.parse(readFileSync(path, 'utf8'));

describe.each([
  ['smollm2', 'models/smollm2-135m-instruct'],
  ['gpt2', 'tokenizers/gpt2'],
  ['llama2', 'tokenizers/llama2-32k'],
])('the tokenizer of %s agrees with Hugging Face', (name, folder) => {
  const path = shared(folder, 'tokenizer.json');
  const { tokenizer_sha256: sha256, cases } = golden<Golden>(`tokenizer_${name}.json`);
  const open = () => createTokenizer({ tokenizer: json(path!), where: folder });

  it.skipIf(path === undefined)(`in ${cases.length} texts ${needs(folder)}`, () => {
    const tokenizer = open();
    for (const { text, ids, decoded, decoded_skip_special: plain, ids_add_special_tokens: special } of cases) {
      expect([...tokenizer.encode(text)], text).toEqual(ids);
      expect([...tokenizer.encode(text, { special: true })], text).toEqual(special ?? ids);
      expect(tokenizer.decode(ids, { special: true }), text).toBe(decoded);
      expect(tokenizer.decode(Int32Array.from(ids)), text).toBe(plain);
    }
  });

  it.skipIf(path === undefined)(`of the very file ${needs(folder)}`, () => {
    expect(createHash('sha256').update(readFileSync(path!)).digest('hex')).toBe(sha256);
  });
});

const chatModel = 'models/smollm2-135m-instruct';
it.skipIf(shared(chatModel) === undefined)(`renders and encodes chats as transformers does ${needs(chatModel)}`, () => {
  const tokenizer = createTokenizer({
    tokenizer: json(shared(chatModel, 'tokenizer.json')!),
    config: json(shared(chatModel, 'tokenizer_config.json')!),
    chatTemplate: readFileSync(shared(chatModel, 'chat_template.jinja')!, 'utf8'),
    where: chatModel,
  });
  expect([tokenizer.bosId, tokenizer.eosId, tokenizer.padId, tokenizer.vocabularySize]).toEqual([1, 2, 2, 49152]);
  const { chat } = golden<Golden>('tokenizer_smollm2.json');
  expect(chat?.length).toBe(3);
  for (const { messages: conversation, ...expected } of chat ?? []) {
    for (const addGenerationPrompt of [false, true]) {
      const { text, ids } = expected[addGenerationPrompt ? 'with_generation_prompt' : 'without_generation_prompt'];
      expect(tokenizer.renderChat(conversation, { addGenerationPrompt })).toBe(text);
      expect([...tokenizer.encode(text)]).toEqual(ids);
    }
  }
});

/** A byte-level tokenizer of six words, small enough to read. */
const words: TokenizerFiles = {
  tokenizer: {
    version: '1.0',
    added_tokens: [
      { id: 6, content: '<s>', special: true, normalized: false, lstrip: false, rstrip: false, single_word: false },
      { id: 9, content: '</s>', special: true, normalized: false, lstrip: false, rstrip: false, single_word: false },
    ],
    normalizer: null,
    pre_tokenizer: { type: 'ByteLevel', add_prefix_space: false, use_regex: true },
    post_processor: null,
    decoder: { type: 'ByteLevel' },
    model: { type: 'BPE', vocab: { a: 0, b: 1, ab: 2, Ġ: 3, Ġa: 4, '?': 5 }, merges: ['a b', 'Ġ a'], unk_token: null },
  },
  where: 'models/words',
};
const messages: readonly Message[] = [
  { role: 'user', content: 'a' },
  { role: 'assistant', content: 'b' },
];
const withTemplate = (chatTemplate: string, config: object = {}) => createTokenizer({ ...words, chatTemplate, config });

describe('createTokenizer', () => {
  it('encodes, decodes and counts ids up to the largest', () => {
    const tokenizer = createTokenizer(words);
    expect([...tokenizer.encode('ab a<s>')]).toEqual([2, 4, 6]);
    expect(tokenizer.decode([2, 4, 6])).toBe('ab a');
    expect(tokenizer.decode([2, 4, 6], { special: true })).toBe('ab a<s>');
    const spaced = createTokenizer({ ...words, config: { clean_up_tokenization_spaces: true } });
    expect(spaced.decode([0, 3, 5])).toBe('a ?');
    expect([tokenizer.decode([]), tokenizer.encode('').length, tokenizer.vocabularySize]).toEqual(['', 0, 10]);
  });

  it('finds special ids in tokenizer_config.json, then special_tokens_map.json, then config.json', () => {
    const ids = { bos: 0, eos: 1 };
    expect(createTokenizer({ ...words, ids })).toMatchObject({ bosId: 0, eosId: 1, padId: undefined });
    const specialTokens = { bos_token: { content: '<s>', lstrip: false }, eos_token: 'ab' };
    expect(createTokenizer({ ...words, ids, specialTokens })).toMatchObject({ bosId: 6, eosId: 2 });
    expect(
      createTokenizer({
        ...words,
        ids,
        specialTokens,
        config: { eos_token: '</s>', pad_token: '</s>', bos_token: null },
      }),
    ).toMatchObject({ bosId: 6, eosId: 9, padId: 9 });
    expect(() => createTokenizer({ ...words, config: { eos_token: '<eot>' } })).toThrow(
      /models\/words: eos_token "<eot>" is not in the vocabulary/,
    );
  });

  it.each([
    [true, [0, 1, 2, 3, 3, 0]],
    [false, [0, 4, 0]],
  ])('splits digits of every script from the text, individual_digits %s', (individual, ids) => {
    const bytes = { '½': 'Â½', '²': 'Â²', '٣': 'Ù£' };
    const pieces = ['a', bytes['½'], bytes['²'], bytes['٣'], Object.values(bytes).join('') + bytes['٣']];
    const halves: string[] = [];
    const merge = (left: string, right: string) => {
      halves.push(`${left} ${right}`);
      return left + right;
    };
    const [half, squared, three] = Object.values(bytes).map((piece) => merge(piece[0]!, piece[1]!));
    merge(merge(merge(half!, squared!), three!), three!);
    // Would join a letter and a digit if they were not split.
    merge('a', half!);
    const all = [...pieces, 'Â', '½', '²', 'Ù', '£', half! + squared!, half! + squared! + three!, `a${half}`];
    const vocab = Object.fromEntries([...new Set(all)].map((piece, id) => [piece, id]));
    const tokenizer = createTokenizer({
      ...words,
      tokenizer: {
        ...(words.tokenizer as object),
        pre_tokenizer: {
          type: 'Sequence',
          pretokenizers: [
            { type: 'Digits', individual_digits: individual },
            { type: 'ByteLevel', add_prefix_space: false, use_regex: false },
          ],
        },
        model: { type: 'BPE', vocab, merges: halves, unk_token: null },
        added_tokens: [],
      },
    });
    expect([...tokenizer.encode('a½²٣٣a')]).toEqual(ids);
  });

  it.each([
    [undefined, /tokenizer\.json must be an object with a "model"/],
    [{ version: '1.0' }, /must be an object with a "model"/],
    [{ model: { type: 'Quantum', vocab: {} }, added_tokens: [] }, /models\/words: tokenizer\.json cannot be used: /],
  ])('refuses a tokenizer.json of %j', (tokenizer, message) => {
    expect(() => createTokenizer({ tokenizer, where: 'models/words' })).toThrow(message);
    expect(() => createTokenizer({ tokenizer, where: 'models/words' })).toThrow(UserError);
  });
});

describe('renderChat', () => {
  it('takes the .jinja file first, then the field of tokenizer_config.json, or its default in a list', () => {
    const config = { chat_template: 'field' };
    expect(createTokenizer({ ...words, config, chatTemplate: 'file' }).renderChat(messages)).toBe('file');
    expect(createTokenizer({ ...words, config }).renderChat(messages)).toBe('field');
    const list = [
      { name: 'tool_use', template: 'tools' },
      { name: 'default', template: 'plain' },
    ];
    expect(createTokenizer({ ...words, config: { chat_template: list } }).renderChat(messages)).toBe('plain');
    expect(createTokenizer({ ...words, config: { chat_template: list.slice(0, 1) } }).renderChat(messages)).toBe(
      'tools',
    );
    const unnamed = [list[0], { name: 'rag', template: 'x' }];
    expect(() => createTokenizer({ ...words, config: { chat_template: unnamed } })).toThrow(
      /one named "default"; found the names tool_use, rag/,
    );
    expect(() => createTokenizer({ ...words, config: { chat_template: 3 } })).toThrow(/chat_template must be a text/);
  });

  it('gives the template the messages, the special tokens and the generation prompt', () => {
    const template = `{{ bos_token }}{% for m in messages %}
    {% if m.role == 'user' %}
[{{ m['content'] }}]
    {% else %}
{{ m.content + eos_token }}
    {% endif %}
{% endfor %}
{% if add_generation_prompt %}>{% endif %}`;
    const tokenizer = withTemplate(template, { bos_token: '<s>', eos_token: '</s>' });
    // Blocks take their own line's indent and newline with them, as in transformers.
    expect(tokenizer.renderChat(messages)).toBe('<s>[a]\nb</s>\n');
    expect(tokenizer.renderChat(messages, { addGenerationPrompt: true })).toBe('<s>[a]\nb</s>\n>');
  });

  it('names special tokens by config.json ids where there is no tokenizer_config.json', () => {
    const tokenizer = createTokenizer({
      ...words,
      chatTemplate: '{{ bos_token }}|{{ eos_token }}',
      ids: { bos: 6, eos: 9 },
    });
    expect(tokenizer.renderChat(messages)).toBe('<s>|</s>');
  });

  it('tells every template the same day, so that a resumed run sees the same tokens', () => {
    const template = `{% if strftime_now is defined %}{{ strftime_now("%d %b %Y, 100%%") }}{% endif %}`;
    expect(withTemplate(template).renderChat(messages)).toBe('26 Jul 2024, 100%');
  });

  it('gives range, namespace and the absence of tools', () => {
    const template = `{% set n = namespace(x=0) %}{% for i in range(1, 4) %}{% set n.x = n.x + i %}{% endfor %}{{ n.x }}{% if tools is none %} none{% endif %}`;
    expect(withTemplate(template).renderChat(messages)).toBe('6 none');
    expect(
      withTemplate('{% for i in range(3) %}{{ i }}{% endfor %}{{ range(4, 0, -2) | length }}').renderChat(messages),
    ).toBe('0122');
  });

  it('explains refusals', () => {
    expect(() => createTokenizer(words).renderChat(messages)).toThrow(
      /models\/words: the model has no chat template .*choose another data template/,
    );
    expect(() => withTemplate('{% if %}').renderChat(messages)).toThrow(
      /models\/words: the chat template is not valid Jinja: /,
    );
    expect(() => withTemplate("{{ raise_exception('roles must alternate') }}").renderChat(messages)).toThrow(
      /the chat template refused a conversation \(user, assistant\): roles must alternate/,
    );
    for (const template of ['{% if %}', "{{ raise_exception('x') }}", '{{ strftime_now("%q") }}'])
      expect(() => withTemplate(template).renderChat(messages)).toThrow(UserError);
  });
});
