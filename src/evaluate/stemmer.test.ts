import { expect, it } from 'vitest';
import { golden } from '../../tests/shared.ts';
import { stem } from './stemmer.ts';

it('gives the stem of NLTK for each of 44,861 words', () => {
  const stems = Object.entries(golden<Record<string, string>>('stems.json'));
  expect(stems.length).toBe(44_861);
  expect(stems.filter(([word, expected]) => stem(word) !== expected)).toEqual([]);
});

it('gives the stem of NLTK for the rules and exceptions listed with ROUGE', () => {
  const { words } = golden<{ stemmer: { words: [string, string][] } }>('rouge.json').stemmer;
  expect(words.length).toBeGreaterThan(100);
  for (const [word, expected] of words) expect([word, stem(word)]).toEqual([word, expected]);
});

it('lower-cases, and survives long runs of y', () => {
  expect(stem('Caresses')).toBe('caress');
  expect(stem('')).toBe('');
  expect(stem('y'.repeat(5000)).length).toBe(5000);
});
