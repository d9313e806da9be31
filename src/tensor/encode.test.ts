import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decodeState } from '../../tests/support/decode-state.ts';
import { decodeChunks, encodeState, stateChunks } from './encode.ts';
import type { State } from './state.ts';
import type { Tensor, Tensors } from './tensor.ts';

/** Any bits as float32: signalling NaN, −0, infinities and the smallest numbers included. */
const bits = fc.uint32Array({ maxLength: 6 }).map((words) => new Float32Array(words.buffer.slice(0)));
const tensor: fc.Arbitrary<Tensor> = fc.oneof(
  bits.map((data) => ({ shape: [data.length], data })),
  bits.map((data) => ({ shape: [1, data.length, 1], data })),
  bits.filter((data) => data.length > 0).map((data) => ({ shape: [], data: data.slice(0, 1) })),
);
const name = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.constantFrom('__proto__', 'constructor', 't', 'm', 'o', 'n', '', '\ud800'),
);
const tensors: fc.Arbitrary<Tensors> = fc
  .array(fc.tuple(name, tensor), { maxLength: 4 })
  .map((entries) => new Map(entries));
const { state } = fc.letrec<{ state: State }>((tie) => ({
  state: fc.oneof(
    { maxDepth: 4 },
    fc.constantFrom(null, true, false, 0, -0, Infinity, -Infinity, Number.MIN_VALUE, Number.MAX_SAFE_INTEGER),
    fc.double({ noNaN: true }),
    name,
    tensor,
    tensors,
    fc.array(tie('state'), { maxLength: 4 }),
    fc.array(fc.tuple(name, tie('state')), { maxLength: 4 }).map((entries) => Object.fromEntries(entries) as State),
  ),
}));

/** A value in which equality means equality of bits: tensors as words, maps as entries, −0 by name. */
function exact(value: State): unknown {
  if (typeof value === 'number') return Object.is(value, -0) ? '-0' : value;
  if (value === null || typeof value !== 'object') return ['plain', value];
  if (Array.isArray(value)) return value.map(exact);
  if (value instanceof Map) return ['map', ...[...(value as Tensors)].map(([key, t]) => [key, exact(t)])];
  if ('data' in value && value.data instanceof Float32Array) {
    const { data, shape } = value as Tensor;
    return ['tensor', [...shape], [...new Uint32Array(data.slice().buffer)]];
  }
  return ['object', ...Object.entries(value).map(([key, entry]) => [key, exact(entry)])];
}

describe('encodeState', () => {
  it('is undone by decodeState, bit for bit', () => {
    fc.assert(
      fc.property(state, fc.nat({ max: 3 }), (given, offset) => {
        const bytes = encodeState(given);
        expect(exact(decodeState(bytes))).toEqual(exact(given));
        // From a view at any offset, as a database returns it; and a Buffer, whose slice does not copy.
        const shifted = new Uint8Array(bytes.length + offset);
        shifted.set(bytes, offset);
        expect(exact(decodeState(shifted.subarray(offset)))).toEqual(exact(given));
        expect(exact(decodeState(Buffer.from(bytes)))).toEqual(exact(given));
        // The same state, the same bytes.
        expect(encodeState(decodeState(bytes))).toEqual(bytes);
      }),
    );
  });

  it('keeps views of a larger buffer apart, and gives copies back', () => {
    const all = Float32Array.of(1, 2, 3, 4, 5, 6);
    const given: State = { x: { shape: [2], data: all.subarray(1, 3) }, y: { shape: [2], data: all.subarray(2, 4) } };
    const bytes = encodeState(given);
    const back = decodeState(bytes) as Record<string, Tensor>;
    expect([[...back['x']!.data], [...back['y']!.data]]).toEqual([
      [2, 3],
      [3, 4],
    ]);
    bytes.fill(0);
    expect([...back['x']!.data]).toEqual([2, 3]);
  });

  it('holds a key called __proto__ without touching any prototype', () => {
    const given = JSON.parse('{"__proto__": {"polluted": true}}') as State;
    const back = decodeState(encodeState(given)) as object;
    expect(Object.keys(back)).toEqual(['__proto__']);
    expect(Object.getPrototypeOf(back)).toBe(Object.prototype);
  });

  it('is compact: 4 bytes a number beside a short text', () => {
    const data = new Float32Array(1000).fill(Math.PI);
    expect(encodeState({ step: 3, first: new Map([['a', { shape: [1000], data }]]) }).length).toBeLessThan(4100);
  });

  it.each([
    [{ a: [1, Number.NaN] }, 'NaN (at a[1])'],
    [{ a: undefined }, 'a undefined (at a)'],
    [Array.from({ length: 1 }), 'a undefined (at [0])'],
    [() => 1, 'a state cannot hold a function'],
    [{ deep: [{ when: new Date(0) }] }, 'an instance of Date (at deep[0].when)'],
    [10n, 'a bigint'],
    [{ x: new Float64Array(2) }, 'an instance of Float64Array (at x)'],
    [{ m: new Map([[1, 2]]) }, 'a map with a key that is a number (at m)'],
    [{ m: new Map([['w', 2]]) }, 'an entry of a map that is not a tensor (at m.w)'],
    [{ t: { shape: [3], data: new Float32Array(2) } }, 'a tensor whose shape is not that of its 2 numbers'],
    [{ t: { shape: [-2, -1], data: new Float32Array(2) } }, 'a tensor whose shape is not'],
    [{ t: { shape: [1], data: new Float32Array(1), name: 'w' } }, 'with more than shape and data (at t)'],
  ])('refuses what a state cannot hold, case %#', (value, message) => {
    expect(() => encodeState(value as State)).toThrow(message);
  });

  it('refuses what contains itself, but not what occurs twice', () => {
    const ring: { next?: unknown } = {};
    ring.next = [ring];
    expect(() => encodeState(ring as State)).toThrow('contains itself (at next[0])');
    const twice = { a: 1 };
    expect(decodeState(encodeState([twice, twice]))).toEqual([{ a: 1 }, { a: 1 }]);
  });
});

describe('in pieces', () => {
  const data = Float32Array.from({ length: 50 }, (_, i) => i / 3 - 7);
  const state = {
    step: 3,
    first: new Map([['w', { shape: [5, 10], data }]]),
    last: { shape: [2], data: data.slice(0, 2) },
  };
  const whole = encodeState(state);

  it('are the same bytes, tensors in their own memory', () => {
    const chunks = stateChunks(state);
    expect(Buffer.concat(chunks)).toEqual(Buffer.from(whole));
    expect(chunks[1]!.buffer).toBe(data.buffer);
  });

  it('read alike however they are cut, each piece gone before the next comes', () => {
    for (const size of [1, 3, 7, 64, whole.length]) {
      const memory = new Uint8Array(size);
      const pieces = function* (): Generator<Uint8Array> {
        for (let at = 0; at < whole.length; at += size) {
          const piece = whole.subarray(at, at + size);
          memory.set(piece);
          yield memory.subarray(0, piece.length);
        }
      };
      expect(decodeChunks(pieces(), whole.length)).toEqual(state);
      expect(() => decodeChunks(pieces(), whole.length + 4)).toThrow('left over');
      expect(() => decodeChunks([], whole.length)).toThrow('truncated');
    }
  });
});

describe('decodeState', () => {
  const bytes = encodeState({ step: 1, first: new Map([['w', { shape: [2, 2], data: Float32Array.of(1, 2, 3, 4) }]]) });

  it('refuses every truncation, and anything left over', () => {
    for (let length = 0; length < bytes.length; length++) {
      expect(() => decodeState(bytes.subarray(0, length))).toThrow('not a whole state');
    }
    expect(() => decodeState(Uint8Array.of(...bytes, 0, 0, 0, 0))).toThrow('4 bytes are left over');
  });

  const framed = (json: string): Uint8Array => {
    const text = new TextEncoder().encode(json);
    const out = new Uint8Array(Math.ceil((8 + text.length) / 4) * 4);
    out.set([...new TextEncoder().encode('FLS1'), text.length, 0, 0, 0, ...text]);
    return out;
  };

  it.each([
    ['{', 'its text cannot be read'],
    ['{"x": 1}', 'an unknown part "x"'],
    ['{}', 'an unknown part ""'],
    ['{"t": [-1]}', 'a tensor has no shape'],
    ['{"t": [9007199254740991, 4]}', 'it is truncated'],
    ['{"m": [["w", 3]]}', 'a tensor has no shape'],
    ['{"m": {"w": []}}', 'a list of names and values is not one'],
    ['{"o": [[1, 2]]}', 'a list of names and values is not one'],
    ['{"n": "12"}', 'a number is written as 12'],
    ['{"o": [["a"]]}', 'a list of names and values is not one'],
  ])('refuses %s', (json, message) => {
    expect(() => decodeState(framed(json))).toThrow(message);
  });

  it('refuses other bytes', () => {
    expect(() => decodeState(new Uint8Array(64).fill(65))).toThrow('it does not begin as one');
  });
});
