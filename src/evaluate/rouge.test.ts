import { array, assert, constantFrom, property } from 'fast-check';
import { describe, expect, it } from 'vitest';
import { golden } from '../../tests/shared.ts';
import { rouge, words } from './rouge.ts';

interface Golden {
  readonly mean: Readonly<Record<'rouge1' | 'rouge2' | 'rougeL' | 'rougeL_without_stemmer', number>>;
  readonly pairs: readonly {
    readonly prediction: string;
    readonly references: readonly string[];
    readonly rouge1: number;
    readonly rouge2: number;
    readonly rougeL: number;
    readonly rougeL_without_stemmer: number;
    readonly stemmed_tokens: readonly string[];
  }[];
}

describe('rouge', () => {
  const { pairs, mean } = golden<Golden>('rouge.json');
  const average = (of: (pair: Golden['pairs'][number]) => number) =>
    pairs.reduce((total, pair) => total + of(pair), 0) / pairs.length;

  it('splits and stems every golden prediction as rouge_score does', () => {
    for (const pair of pairs) expect(words(pair.prediction)).toEqual(pair.stemmed_tokens);
  });

  it('agrees with rouge_score on every pair within 1e-9', () => {
    for (const pair of pairs) {
      const ours = rouge(pair.prediction, pair.references);
      for (const key of ['rouge1', 'rouge2', 'rougeL'] as const) {
        expect(Math.abs(ours[key] - pair[key])).toBeLessThan(1e-9);
      }
      const plain = rouge(pair.prediction, pair.references, false);
      expect(Math.abs(plain.rougeL - pair.rougeL_without_stemmer)).toBeLessThan(1e-9);
    }
  });

  it('agrees with rouge_score in the mean within 1e-9', () => {
    for (const key of ['rouge1', 'rouge2', 'rougeL'] as const) {
      const ours = average((pair) => rouge(pair.prediction, pair.references)[key]);
      expect(Math.abs(ours - mean[key])).toBeLessThan(1e-9);
    }
    const plain = average((pair) => rouge(pair.prediction, pair.references, false).rougeL);
    expect(Math.abs(plain - mean.rougeL_without_stemmer)).toBeLessThan(1e-9);
  });

  it('is symmetric, in 0 … 1, and 1 for a text with itself', () => {
    const text = array(constantFrom('cat', 'sat', 'running', 'mats', 'the'), { minLength: 1, maxLength: 12 });
    assert(
      property(text, text, (a, b) => {
        const there = rouge(a.join(' '), [b.join(' ')]);
        const back = rouge(b.join(' '), [a.join(' ')]);
        for (const key of ['rouge1', 'rouge2', 'rougeL'] as const) {
          expect(there[key]).toBeCloseTo(back[key], 12);
          expect(there[key]).toBeGreaterThanOrEqual(0);
          expect(there[key]).toBeLessThanOrEqual(1);
        }
        expect(rouge(a.join(' '), [a.join(' ')]).rougeL).toBe(1);
      }),
    );
  });

  it('scores 0 without words or references', () => {
    expect(rouge('Привет', ['Привет'])).toEqual({ rouge1: 0, rouge2: 0, rougeL: 0 });
    expect(rouge('cat', [])).toEqual({ rouge1: 0, rouge2: 0, rougeL: 0 });
  });
});
