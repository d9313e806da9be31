import { describe, expect, it } from 'vitest';
import { toyAdapter, toyLayout } from '../../tests/toy-adapter.ts';
import { keyOfA, keyOfB } from './adapter.ts';
import { requireFactors } from './check.ts';
import { factors, onlyA, onlyB } from './factors.ts';

const layout = toyLayout({ modules: 2 });
const adapter = toyAdapter(layout, 1);
const other = toyAdapter(layout, 2).factors;
const keys = { A: ['m0', 'm1'].map(keyOfA), B: ['m0', 'm1'].map(keyOfB) };

describe.each([
  ['factors', factors(), 'AB', [keys.A[0], keys.B[0], keys.A[1], keys.B[1]]],
  ['onlyA', onlyA(), 'A', keys.A],
  ['onlyB', onlyB(), 'B', keys.B],
] as const)('%s', (_, how, moves, trained) => {
  const point = how.at(adapter);

  it('begins at the adapter’s own factors, the same tensors', () => {
    expect(how.moves).toBe(moves);
    expect([...point.init.keys()]).toEqual(trained);
    const back = point.toFactors(point.init);
    expect([...back.keys()]).toEqual([...adapter.factors.keys()]);
    for (const [key, factor] of back) expect(factor).toBe(adapter.factors.get(key));
  });

  it('moves what is trained and passes on the rest', () => {
    const params = new Map(trained.map((key) => [key!, other.get(key!)!]));
    for (const [key, factor] of point.toFactors(params)) {
      expect(factor).toBe(
        (trained as readonly (string | undefined)[]).includes(key) ? other.get(key) : adapter.factors.get(key),
      );
    }
  });

  it('hands back the gradients of what is trained, and those alone', () => {
    const pulled = point.pullback(other, point.init);
    expect([...pulled.keys()]).toEqual(trained);
    for (const [key, gradient] of pulled) expect(gradient).toBe(other.get(key));
    expect(() => point.pullback(new Map(), point.init)).toThrow(`no tensor "${trained[0]}"`);
  });

  it('refuses params of other modules or shapes', () => {
    const params = new Map([...point.init].slice(1));
    expect(() => point.toFactors(params)).toThrow('is missing in the first');
  });
});

describe('requireFactors', () => {
  it('says what does not fit the layout', () => {
    const [[key, A], ...rest] = [...adapter.factors] as [
      [string, typeof adapter.factors extends ReadonlyMap<string, infer T> ? T : never],
    ];
    expect(() => requireFactors({ layout, factors: new Map(rest) })).toThrow('the adapter lacks the factor m0.lora_A');
    const flat = new Map([...adapter.factors, [key, { shape: [10], data: A.data }]]);
    expect(() => requireFactors({ layout, factors: flat }, 'the broadcast')).toThrow(
      'the broadcast has m0.lora_A of shape [10]; its layout asks for [2, 5]',
    );
    const more = new Map([...adapter.factors, ['m9.lora_A', A]]);
    expect(() => requireFactors({ layout, factors: more })).toThrow('m9.lora_A, which its layout lacks');
  });
});
