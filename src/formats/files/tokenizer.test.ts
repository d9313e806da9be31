import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { UserError } from '../../errors.ts';
import { openTokenizer } from './tokenizer.ts';

const tokenizer = {
  version: '1.0',
  added_tokens: [],
  normalizer: null,
  pre_tokenizer: { type: 'ByteLevel', add_prefix_space: false, use_regex: true },
  post_processor: null,
  decoder: { type: 'ByteLevel' },
  model: { type: 'BPE', vocab: { a: 0, b: 1, c: 2, d: 3, ab: 4 }, merges: ['a b'], unk_token: null },
};

let folder: string;
const write = (name: string, content: unknown) =>
  writeFile(join(folder, name), typeof content === 'string' ? content : JSON.stringify(content));
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'fedlora-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

describe('openTokenizer', () => {
  it('needs no more than tokenizer.json', async () => {
    await write('tokenizer.json', tokenizer);
    const opened = await openTokenizer(folder);
    expect([...opened.encode('abc')]).toEqual([4, 2]);
    expect([opened.bosId, opened.eosId, opened.padId, opened.chatTemplate]).toEqual([
      undefined,
      undefined,
      undefined,
      undefined,
    ]);
  });

  it('counts ids as the file has them, and refuses what is no id', async () => {
    const withId = (id: unknown) => ({
      ...tokenizer,
      model: { ...tokenizer.model, vocab: { ...tokenizer.model.vocab, d: id } },
    });
    await write('tokenizer.json', withId(2 ** 40));
    expect((await openTokenizer(folder)).vocabularySize).toBe(2 ** 40 + 1);
    for (const id of [-3, 1.5, '7', null]) {
      await write('tokenizer.json', withId(id));
      await expect(openTokenizer(folder)).rejects.toThrow(UserError);
    }
  });

  it('takes every file that is there, each in its turn', async () => {
    await write('tokenizer.json', tokenizer);
    await write('config.json', { bos_token_id: 0, eos_token_id: [1, 2], pad_token_id: null });
    expect(await openTokenizer(folder)).toMatchObject({ bosId: 0, eosId: 1, padId: undefined });
    await write('special_tokens_map.json', { eos_token: 'c' });
    expect(await openTokenizer(folder)).toMatchObject({ bosId: 0, eosId: 2 });
    await write('tokenizer_config.json', { eos_token: { content: 'd' }, chat_template: 'field' });
    expect(await openTokenizer(folder)).toMatchObject({ eosId: 3, chatTemplate: 'field' });
    await write('chat_template.jinja', 'file');
    expect((await openTokenizer(folder)).renderChat([])).toBe('file');
  });

  it('names what is missing or broken', async () => {
    await expect(openTokenizer(folder)).rejects.toThrow(/tokenizer\.json is missing; AutoTokenizer/);
    await write('tokenizer.model', '');
    await expect(openTokenizer(folder)).rejects.toThrow(
      /tokenizer\.json is missing \(tokenizer\.model alone is not supported\)/,
    );
    await write('tokenizer.json', '{"model":');
    await expect(openTokenizer(folder)).rejects.toThrow(/tokenizer\.json: not JSON/);
    await write('tokenizer.json', tokenizer);
    await write('tokenizer_config.json', '[');
    await expect(openTokenizer(folder)).rejects.toThrow(/tokenizer_config\.json: not JSON/);
    await expect(openTokenizer(folder)).rejects.toThrow(UserError);
  });

  describe('whose own code', () => {
    const split = (expression: string) => ({
      type: 'Split',
      pattern: { Regex: expression },
      behavior: 'Isolated',
      invert: false,
    });
    const withSplit = (expression: string) => ({
      ...tokenizer,
      pre_tokenizer: { type: 'Sequence', pretokenizers: [split(expression), tokenizer.pre_tokenizer] },
    });
    const many = `${'a'.repeat(60)}b`;

    it('never ends is stopped, by name, and goes on with other texts', async () => {
      await write('tokenizer.json', withSplit('(a+)+c'));
      const opened = await openTokenizer(folder, 100);
      const stopped = (): unknown => opened.encode(many);
      expect(stopped).toThrow(UserError);
      expect(stopped).toThrow(
        `${folder}: tokenizer.json, with the expression "(a+)+c", was not done with a text of 61 characters after 0.1 s`,
      );
      expect([...opened.encode('aaacab')]).toEqual([0, 0, 0, 2, 4]);
      expect(opened.decode([4, 2])).toBe('abc');
    });

    it('fails is not covered up', async () => {
      await write('tokenizer.json', withSplit('a{2}'));
      await write('chat_template.jinja', "{{ raise_exception('no system turn') }}");
      const opened = await openTokenizer(folder);
      expect(() => opened.renderChat([{ role: 'user', content: 'a' }])).toThrow('no system turn');
    });

    it('loops in its chat template is stopped', async () => {
      await write('tokenizer.json', tokenizer);
      const loop = (body: string): string => `{% for i in range(1000) %}${body}{% endfor %}`;
      await write('chat_template.jinja', loop(loop(loop(loop('{% set x = i %}')))));
      const opened = await openTokenizer(folder, 100);
      expect(() => opened.renderChat([{ role: 'user', content: 'abc' }])).toThrow(
        'the chat template was not done with a text of 3 characters after 0.1 s',
      );
    });
  });
});
