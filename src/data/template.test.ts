import { readFileSync } from 'node:fs';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { golden, needs, shared } from '../../tests/shared.ts';
import { byteTokenizer } from '../../tests/support/byte-tokenizer.ts';
import { openTokenizer } from '../formats/files/tokenizer.ts';
import { describeRow } from './describe.ts';
import type { TemplateTokenizer } from './pieces.ts';
import { createTemplate, type Template } from './template.ts';
import type { Tokenizer } from './tokenizer.ts';
import type { Example, Message, TokenRow } from './types.ts';

const say = (...turns: string[]): Message[] =>
  turns.map((content, i) => ({ role: i % 2 === 0 ? 'user' : 'assistant', content }));

const example = (messages: readonly Message[], parts?: Example['parts']): Example => ({
  id: 'r1',
  messages,
  references: [messages.at(-1)!.content],
  columns: {},
  ...(parts && { parts }),
});

function rowOf(template: Template, messages: readonly Message[], parts?: Example['parts']): TokenRow {
  const result = template.row(example(messages, parts));
  if ('drop' in result) throw new Error(`dropped: ${result.drop}`);
  return result.row;
}

const bytes = byteTokenizer();
const marked = (row: TokenRow, tokenizer = bytes): string =>
  describeRow(row, tokenizer)
    .map(({ text, labelled }) => (labelled ? `[${text}]` : text))
    .join('');
const maxLength = 512;

describe('the chat template', () => {
  const chat = createTemplate({ template: 'chat', maxLength }, bytes);

  it('labels every response with its end of turn, and nothing else', () => {
    expect(marked(rowOf(chat, say('Hi', 'Hello')))).toBe('<|user|>Hi<|end|>\n<|assistant|>[Hello<|end|>]');
    expect(marked(rowOf(chat, say('Hi', 'Hello', 'More?', 'No.\n')))).toBe(
      '<|user|>Hi<|end|>\n<|assistant|>[Hello<|end|>]\n<|user|>More?<|end|>\n<|assistant|>[No.\n<|end|>]',
    );
  });

  it('puts a system message before examples that have none', () => {
    const kind = createTemplate({ template: 'chat', maxLength, system: 'Be kind.' }, bytes);
    expect(marked(rowOf(kind, say('Hi', 'Hello')))).toMatch(/^<\|system\|>Be kind\.<\|end\|>\n<\|user\|>Hi/);
    const own: Message[] = [{ role: 'system', content: 'Be terse.' }, ...say('Hi', 'Hello')];
    expect(marked(rowOf(kind, own))).toMatch(/^<\|system\|>Be terse\.<\|end\|>\n<\|user\|>Hi/);
  });

  it('gives the prompt as the row has it', () => {
    const row = rowOf(chat, say('Hi', 'Hello', 'More?', 'No.'));
    const prompt = chat.prompt(example(say('Hi', 'Hello', 'More?', 'No.')));
    expect(prompt).toEqual(row.ids.slice(0, prompt.length));
    expect(bytes.decode(prompt, { special: true })).toBe(
      '<|user|>Hi<|end|>\n<|assistant|>Hello<|end|>\n<|user|>More?<|end|>\n<|assistant|>',
    );
    expect(chat.stop).toEqual([257]);
  });

  it('adds the end of sequence where the template ends no turn', () => {
    const loose = byteTokenizer(
      "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '\n' }}{% endfor %}{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}",
    );
    const template = createTemplate({ template: 'chat', maxLength }, loose);
    expect(marked(rowOf(template, say('Hi', 'Hello')), loose)).toBe('user: Hi\nassistant: [Hello<|end|>]');
  });

  it('refuses templates that rewrite what came before', () => {
    // Drops the thoughts of earlier turns, as templates of reasoning models do.
    const forgetful = byteTokenizer(
      "{% for m in messages %}{{ '<|' + m['role'] + '|>' + (m['content'] if loop.last else m['content'][:2]) + '<|end|>' }}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}",
    );
    const template = createTemplate({ template: 'chat', maxLength }, forgetful);
    expect(marked(rowOf(template, say('Hi', 'Hello')), forgetful)).toBe('<|user|>Hi<|end|><|assistant|>[Hello<|end|>]');
    expect(() => rowOf(template, say('Hi', 'Hello', 'So', 'Yes'))).toThrow(
      'chat template does not extend a conversation turn by turn (row "r1", after 32 characters: "llo<|end|>" became "<|end|><|user|>So<|end|><|assistant|>Yes"): a later turn changes how an earlier one is written',
    );
    const thinking = byteTokenizer(
      "{% for m in messages %}{{ '<|' + m['role'] + '|>' + m['content'] + '<|end|>' }}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|><think>' }}{% endif %}",
    );
    expect(() => createTemplate({ template: 'chat', maxLength }, thinking)).toThrow(
      'what it puts before a response differs from its prompt for generation. Choose data.template: alpaca',
    );
    expect(() => createTemplate({ template: 'chat', maxLength }, byteTokenizer(''))).toThrow('no chat template');
  });
});

describe('the Alpaca template', () => {
  const alpaca = createTemplate({ template: 'alpaca', maxLength }, bytes);

  it('has its wording with and without an input', () => {
    expect(marked(rowOf(alpaca, say('Name it.', 'Cat')))).toBe(
      'Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n### Instruction:\nName it.\n\n### Response:\n[Cat<|end|>]',
    );
    expect(marked(rowOf(alpaca, say('Name it.\n\nmeow', 'Cat'), { instruction: 'Name it.', input: 'meow' }))).toBe(
      'Below is an instruction that describes a task, paired with an input that provides further context. Write a response that appropriately completes the request.\n\n### Instruction:\nName it.\n\n### Input:\nmeow\n\n### Response:\n[Cat<|end|>]',
    );
  });

  it('goes on with further turns and takes a system message as its opening', () => {
    const brief = createTemplate({ template: 'alpaca', maxLength, system: 'Answer.' }, bytes);
    expect(marked(rowOf(brief, say('a', 'b', 'c', 'd')))).toBe(
      'Answer.\n\n### Instruction:\na\n\n### Response:\n[b<|end|>]\n\n### Instruction:\nc\n\n### Response:\n[d<|end|>]',
    );
  });

  it('needs an end-of-sequence token', () => {
    const { eosId: _, ...endless } = bytes;
    expect(() => createTemplate({ template: 'alpaca', maxLength }, { ...endless, eosId: undefined })).toThrow(
      'eos_token',
    );
  });
});

it('the plain template has a separator and nothing more', () => {
  const plain = createTemplate({ template: 'plain', maxLength }, bytes);
  expect(marked(rowOf(plain, say('2+2', '4', '3+3', '6')))).toBe('2+2\n[4<|end|>]3+3\n[6<|end|>]');
  const arrow = createTemplate({ template: 'plain', maxLength, separator: ' -> ', system: 'Sums' }, bytes);
  expect(marked(rowOf(arrow, say('2+2', '4')))).toBe('Sums -> 2+2 -> [4<|end|>]');
  // The tokenizer's own start token goes in front.
  const started: TemplateTokenizer = {
    ...bytes,
    encode: (text, options) => Int32Array.from([...(options?.special === true ? [256] : []), ...bytes.encode(text)]),
  };
  expect(marked(rowOf(createTemplate({ template: 'plain', maxLength }, started), say('2+2', '4')))).toBe(
    '<s>2+2\n[4<|end|>]',
  );
});

describe('rows above the maximum', () => {
  const cut = (most: number, prompt: string, response: string): string =>
    marked(rowOf(createTemplate({ template: 'plain', maxLength: most, separator: '|' }, bytes), say(prompt, response)));

  it('lose the end of the response, down to a quarter, then the middle of the prompt', () => {
    expect(cut(12, 'abcdefgh', 'xy')).toBe('abcdefgh|[xy<|end|>]');
    expect(cut(11, 'abcdefgh', 'xy')).toBe('abcdfgh|[xy<|end|>]');
    expect(cut(8, 'abcdefgh', 'xy')).toBe('abcgh|[xy]');
    expect(cut(8, 'abcdefgh', 'uvwxyz')).toBe('abcgh|[uv]');
    expect(cut(8, 'abc', 'uvwxyz')).toBe('abc|[uvwx]');
    expect(cut(4, 'abcdefgh', 'uvwxyz')).toBe('ah|[u]');
    expect(cut(2, 'abcdefgh', 'uvwxyz')).toBe('|[u]');
  });

  it('always keep a response token that is predicted from another', () => {
    fc.assert(
      fc.property(fc.nat(40), fc.integer({ min: 1, max: 40 }), fc.integer({ min: 2, max: 60 }), (p, r, most) => {
        const template = createTemplate({ template: 'plain', maxLength: most, separator: '|' }, bytes);
        const messages = say('p'.repeat(p), 'r'.repeat(r));
        const result = template.row(example(messages));
        if ('drop' in result) throw new Error(result.drop);
        const { ids, labelled } = result.row;
        const whole = p + 1 + r + 1;
        expect(ids.length).toBe(Math.min(whole, most));
        expect(result.truncated).toBe(whole > most);
        expect(labelled.lastIndexOf(1)).toBe(ids.length - 1);
        expect(labelled[0]).toBe(0);
        const learned = labelled.reduce((sum, x) => sum + x, 0);
        // The prompt gives way only where less than a quarter would be left for the response.
        expect(learned).toBe(Math.min(r + 1, most - Math.min(p + 1, Math.max(1, Math.floor((3 * most) / 4)))));
        const prompt = template.prompt(example(messages));
        expect(prompt.length).toBe(Math.min(p + 1, most));
        expect(template.prompt(example(messages), 5).length).toBe(Math.min(p + 1, Math.max(1, most - 5)));
      }),
    );
  });

  it('lose the middle of the conversation before the last response', () => {
    const template = createTemplate({ template: 'plain', maxLength: 10, separator: '|' }, bytes);
    const result = template.row(example(say('ab', 'cdef', 'gh', 'ij')));
    expect(result).toMatchObject({ truncated: true });
    // ab|cdef<end>gh|ij<end>: 3 of the first 11 tokens, and the last 4 of them; "<end>" after the cut is no longer learned.
    expect('row' in result && marked(result.row)).toBe('ab|<|end|>gh|[ij<|end|>]');
  });

  it('keep the marks of a chat template whole, and cut the longest text before the last response', () => {
    const chat = createTemplate({ template: 'chat', maxLength: 40 }, bytes);
    const cutTo = (...turns: string[]): string => marked(rowOf(chat, say(...turns)));
    const row = cutTo('Say: abcdefghijklmnopqrstuvwxyz?', 'yes');
    expect(row).toMatch(/^<\|user\|>Say: .*yz\?<\|end\|>\n<\|assistant\|>\[yes<\|end\|>\]$/);
    // What is left of an earlier response is not learnt.
    expect(cutTo('a', 'b'.repeat(60), 'c', 'yes')).toMatch(
      /^<\|user\|>a<\|end\|>\n<\|assistant\|>b+<\|end\|>\n<\|user\|>c<\|end\|>\n<\|assistant\|>\[yes<\|end\|>\]$/,
    );
    const prompt = chat.prompt(example(say('x'.repeat(90), '?')), 20);
    expect(bytes.decode(prompt, { special: true })).toMatch(/^<\|user\|>x+<\|end\|>\n<\|assistant\|>$/);
    expect(prompt.length).toBe(20);
  });

  it('keep Alpaca’s headings whole, cutting the input or the instruction', () => {
    const [instruction, input] = ['Name it.', 'meow '.repeat(80).trim()];
    const alpaca = createTemplate({ template: 'alpaca', maxLength: 280 }, bytes);
    const result = alpaca.row(example(say(`${instruction}\n\n${input}`, 'Cat'), { instruction, input }));
    expect(result).toMatchObject({ truncated: true });
    const text = 'row' in result ? marked(result.row) : '';
    expect(text).toMatch(
      /### Instruction:\nName it\.\n\n### Input:\nmeow [meow ]+ meow\n\n### Response:\n\[Cat<\|end\|>\]$/,
    );
    expect('row' in result && result.row.ids.length).toBe(280);
  });

  it('never hold half a character', () => {
    const plain = createTemplate({ template: 'plain', maxLength: 24, separator: '|' }, bytes);
    for (let n = 0; n < 8; n++)
      expect(marked(rowOf(plain, say(`${'a'.repeat(n)}${'😀'.repeat(20)}`, 'r')))).not.toContain('\ufffd');
  });

  it('are refused where no row can be learned from', () => {
    expect(() => createTemplate({ template: 'plain', maxLength: 1 }, bytes)).toThrow(
      'data.maxLength must be a whole number of at least 2',
    );
  });
});

it('drops a row whose only response token has none before it', () => {
  const silent: TemplateTokenizer = {
    ...bytes,
    encode: (text) => (text === 'x' ? Int32Array.of(7) : new Int32Array(0)),
  };
  const template = createTemplate({ template: 'plain', maxLength: 2 }, { ...silent, eosId: 257 });
  expect(template.row(example(say('', '')))).toEqual({ drop: 'no response token has one before it' });
  expect(template.row(example(say('', 'x')))).toMatchObject({
    row: { ids: Int32Array.of(7, 257), labelled: Uint8Array.of(0, 1) },
  });
});

/** A row too long by far, by its marks before and after the text that is cut. */
function expectWhole(template: Template, tokenizer: Tokenizer, most: number): void {
  const long = `First words. ${'Some more of it, 12 things. '.repeat(60)}Last question?`;
  const full = template.row(example(say('First question?', 'Right.')));
  const result = template.row(example(say(long, 'Right.')));
  if ('drop' in full || 'drop' in result) throw new Error('dropped');
  expect(result.truncated).toBe(true);
  expect(result.row.ids.length).toBeLessThanOrEqual(most);
  expect(result.row.ids.length).toBeGreaterThan(most - 6);
  const [before, after] = marked(full.row, tokenizer).split('First question?') as [string, string];
  const text = marked(result.row, tokenizer);
  expect(text.startsWith(`${before}First words.`)).toBe(true);
  expect(text.endsWith(`Last question?${after}`)).toBe(true);
}

describe('with real tokenizers', () => {
  for (const [path, template, most] of [
    ['models/smollm2-135m-instruct', 'chat', 128],
    ['tokenizers/llama2-32k', 'alpaca', 160],
  ] as const) {
    const folder = shared(path);
    it.skipIf(folder === undefined)(
      `a long prompt keeps the template’s marks: ${path} ${needs(path.split('/')[0]!)}`,
      async () => {
        const tokenizer = { ...(await openTokenizer(folder!)), ...(template === 'alpaca' && { eosId: 2 }) };
        expectWhole(createTemplate({ template, maxLength: most }, tokenizer), tokenizer, most);
      },
    );
  }

  it('a long prompt keeps the template’s marks: the embedded model', async () => {
    const tokenizer = await openTokenizer(new URL('../../assets/model', import.meta.url).pathname);
    expectWhole(createTemplate({ template: 'chat', maxLength: 96 }, tokenizer), tokenizer, 96);
  });

  const smollm2 = shared('models/smollm2-135m-instruct');
  it.skipIf(smollm2 === undefined)(`SmolLM2's chat rows are what transformers renders ${needs('models')}`, async () => {
    const tokenizer = await openTokenizer(smollm2!);
    const template = createTemplate({ template: 'chat', maxLength }, tokenizer);
    const { generation } = golden<{ generation: { messages: Message[]; prompt_ids: number[] }[] }>(
      'lora_step_smollm2.json',
    );
    expect(generation.length).toBeGreaterThan(1);
    for (const { messages, prompt_ids: ids } of generation)
      expect([...template.prompt(example([...messages, { role: 'assistant', content: '?' }]))]).toEqual(ids);
    const { chat } = golden<{
      chat: { messages: Message[]; without_generation_prompt: { text: string; ids: number[] } }[];
    }>('tokenizer_smollm2.json');
    const several = chat.filter(({ messages }) => messages.some(({ role }) => role === 'assistant'));
    expect(several.length).toBeGreaterThan(0);
    for (const { messages, without_generation_prompt: whole } of several) {
      const last = messages.findLastIndex(({ role }) => role === 'assistant');
      const row = rowOf(template, messages.slice(0, last + 1));
      expect([...row.ids]).toEqual(whole.ids.slice(0, row.ids.length));
      const responses = describeRow(row, tokenizer).filter(({ labelled }) => labelled);
      expect(responses.map(({ text }) => text)).toEqual(
        messages.filter(({ role }) => role === 'assistant').map(({ content }) => `${content}<|im_end|>`),
      );
    }
    expect(template.stop).toEqual([tokenizer.eosId]);
  });

  const llama = shared('tokenizers/llama2-32k');
  it.skipIf(llama === undefined)(
    `LLaMA2's rows are its own tokens of the joined text ${needs('tokenizers')}`,
    async () => {
      const tokenizer = await openTokenizer(llama!);
      const named = { ...tokenizer, eosId: 2 };
      const template = createTemplate({ template: 'alpaca', maxLength }, named);
      const row = rowOf(template, say('Name two colours.', 'Red and blue.\n\n Also  green.'));
      const text =
        'Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n### Instruction:\nName two colours.\n\n### Response:\nRed and blue.\n\n Also  green.';
      expect([...row.ids]).toEqual([...tokenizer.encode(text, { special: true }), 2]);
      expect(row.ids[0]).toBe(1);
      const [prompt, response] = describeRow(row, tokenizer);
      expect(prompt?.text.endsWith('### Response:\n')).toBe(true);
      expect(response?.text).toBe('Red and blue.\n\n Also  green.</s>');
      const asked = template.prompt(example(say('Name two colours.', 'x')));
      expect(asked).toEqual(row.ids.slice(0, asked.length));
      expect(prompt?.tokens).toBe(asked.length);
    },
  );

  it("the embedded model's tokenizer serves its chat template", async () => {
    const folder = new URL('../../assets/model', import.meta.url).pathname;
    const tokenizer = await openTokenizer(folder);
    const template = createTemplate({ template: 'chat', maxLength: 256 }, tokenizer);
    const first = JSON.parse(
      readFileSync(new URL('../../assets/tasks/desks.jsonl', import.meta.url), 'utf8').split('\n')[0]!,
    ) as { prompt: string; response: string };
    const row = rowOf(template, say(first.prompt, first.response));
    expect(marked(row, tokenizer)).toBe(`<|user|>${first.prompt}<|end|><|assistant|>[${first.response}<|end|>]`);
  });
});
