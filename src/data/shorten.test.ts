import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { bytes, example, marked, rowOf, say } from '../../tests/support/templates.ts';
import { createTemplate } from './template.ts';

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
