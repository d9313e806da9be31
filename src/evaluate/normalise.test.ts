import { describe, expect, it } from 'vitest';
import { golden } from '../../tests/shared.ts';
import { exactMatch } from './exact-match.ts';
import { normalise } from './normalise.ts';

interface Golden {
  readonly mean: { readonly exact_match: number };
  readonly pairs: readonly {
    readonly prediction: string;
    readonly references: readonly string[];
    readonly normalised: string;
    readonly exact_match: 0 | 1;
  }[];
}

describe('normalise', () => {
  const { pairs, mean } = golden<Golden>('rouge.json');

  it('agrees with Python on every golden prediction', () => {
    expect(pairs.length).toBe(40);
    for (const pair of pairs) expect(normalise(pair.prediction)).toBe(pair.normalised);
  });

  it('drops each of the 32 ASCII punctuation marks and nothing else', () => {
    const ascii = Array.from({ length: 95 }, (_, i) => String.fromCharCode(32 + i)).join('');
    expect(normalise(ascii)).toBe('0123456789abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz');
    expect(normalise('«Ça» – “so”…')).toBe('«ça» – “so”…');
  });

  it('keeps articles, collapses every white space of Python and trims', () => {
    expect(normalise(' The\u00a0 \t a\u2003An\n\u0085end\u001c ')).toBe('the a an end');
  });

  it('agrees with the golden exact match, pair by pair and in the mean', () => {
    for (const pair of pairs) expect(exactMatch(pair.prediction, pair.references)).toBe(pair.exact_match);
    const sum = pairs.reduce((total, pair) => total + exactMatch(pair.prediction, pair.references), 0);
    expect(sum / pairs.length).toBeCloseTo(mean.exact_match, 12);
  });

  it('matches a missing prediction only with an empty reference', () => {
    expect(exactMatch('', ['yes', 'no'])).toBe(0);
    expect(exactMatch('', ['yes', '?!'])).toBe(1);
    expect(exactMatch('yes', [])).toBe(0);
  });
});
