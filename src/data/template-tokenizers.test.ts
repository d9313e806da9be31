import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { golden, needs, shared } from '../../tests/shared.ts';
import { example, marked, rowOf, say } from '../../tests/support/templates.ts';
import { openTokenizer } from '../formats/files/tokenizer.ts';
import { describeRow } from './describe.ts';
import { createTemplate, type Template } from './template.ts';
import type { Tokenizer } from './tokenizer.ts';
import type { Message } from './types.ts';

const maxLength = 512;

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
