import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { createTokenizer } from '../../src/data/tokenizer.ts';
import type { Message } from '../../src/data/types.ts';
import { golden } from '../../tests/shared.ts';
import { byteLetters, learnBpe } from './bpe.ts';
import { modelFolder } from './paths.ts';
import { tokenizerFiles } from './tokenizer.ts';

test('merges the most frequent pair first, then the one first in code-point order', () => {
  // hug ×10, pug ×5, pun ×12, bun ×4, hugs ×5: u+g 20, then u+n 16, then h+ug 15 (the textbook example of BPE).
  const text = [
    ['hug', 10],
    ['pug', 5],
    ['pun', 12],
    ['bun', 4],
    ['hugs', 5],
  ].flatMap(([word, n]) => Array<string>(Number(n)).fill(`${word}.`));
  expect(learnBpe(text, ['<|end|>'], 260).merges).toEqual([
    ['u', 'g'],
    ['u', 'n'],
    ['h', 'ug'],
  ]);
  expect(learnBpe(['ba', 'ba', 'cd', 'cd'], [], 257).merges).toEqual([['b', 'a']]);
});

test('stops where no pair occurs twice, and counts ids from the special tokens on', () => {
  const { vocabulary, merges } = learnBpe(['abc'], ['<|end|>', '<|user|>'], 1000);
  expect(merges).toEqual([]);
  expect([vocabulary.size, vocabulary.get('<|user|>'), vocabulary.get('!')]).toEqual([258, 1, 2 + 33]);
});

test("bytes have GPT-2's letters", () => {
  expect([byteLetters[32], byteLetters[10], byteLetters[33], byteLetters[255], new Set(byteLetters).size]).toEqual([
    'Ġ',
    'Ċ',
    '!',
    'ÿ',
    256,
  ]);
});

test('the committed tokenizer is what its text teaches, byte for byte', () => {
  for (const [name, text] of tokenizerFiles()) expect(readFileSync(join(modelFolder, name), 'utf8')).toBe(text);
});

test('the committed tokenizer gives the ids that transformers gives', () => {
  const read = (name: string): unknown => JSON.parse(readFileSync(join(modelFolder, name), 'utf8'));
  const tokenizer = createTokenizer({
    tokenizer: read('tokenizer.json'),
    config: read('tokenizer_config.json'),
    where: modelFolder,
  });
  const { texts, chats } = golden<{
    texts: { text: string; ids: number[]; decoded: string }[];
    chats: { messages: Message[]; prompt: string; ids: number[] }[];
  }>('tokenizer_embedded.json');
  for (const { text, ids, decoded } of texts) {
    expect([...tokenizer.encode(text)]).toEqual(ids);
    expect(tokenizer.decode(ids)).toBe(decoded);
  }
  for (const { messages, prompt, ids } of chats) {
    const text = tokenizer.renderChat(messages, { addGenerationPrompt: messages.at(-1)?.role === 'user' });
    expect(text).toBe(prompt);
    expect([...tokenizer.encode(text)]).toEqual(ids);
  }
});
