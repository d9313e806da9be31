import { describe, expect, it } from 'vitest';
import { byteTokenizer } from '../../tests/support/byte-tokenizer.ts';
import { bytes, example, marked, rowOf, say } from '../../tests/support/templates.ts';
import type { TemplateTokenizer } from './pieces.ts';
import { createTemplate } from './template.ts';
import type { Message } from './types.ts';

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
