import * as fc from 'fast-check';
import { expect, it } from 'vitest';
import { collect } from '../../tests/support/collect.ts';
import { UserError } from '../errors.ts';
import { linesOf, type Line } from './lines.ts';

async function* inPieces(bytes: Uint8Array, cuts: readonly number[]): AsyncGenerator<Uint8Array> {
  const at = [...new Set(cuts.map((cut) => cut % (bytes.length + 1)))].sort((a, b) => a - b);
  // One buffer for all pieces, as a reader may do.
  const buffer = new Uint8Array(bytes.length);
  let from = 0;
  for (const to of [...at, bytes.length]) {
    buffer.fill(0);
    buffer.set(bytes.subarray(from, to));
    yield buffer.subarray(0, to - from);
    from = to;
  }
}

const read = async (bytes: Uint8Array, cuts: readonly number[] = [], longest?: number): Promise<Line[]> =>
  (await collect(linesOf(inPieces(bytes, cuts), 'data.jsonl', longest))).yielded;

const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);

it('gives the same lines however the bytes arrive', async () => {
  const line = fc.string({ unit: 'binary' }).map((text) => text.replaceAll(/[\r\n\uFEFF]/g, 'é'));
  await fc.assert(
    fc.asyncProperty(fc.array(line), fc.array(fc.nat()), async (texts, cuts) => {
      const expected = texts.flatMap((text, i) => (text.trim() === '' ? [] : [{ number: i + 1, text }]));
      expect(await read(utf8(texts.join('\n')), cuts)).toEqual(expected);
      expect(await read(utf8(texts.map((text) => `${text}\r\n`).join('')), cuts)).toEqual(expected);
    }),
    { numRuns: 200 },
  );
});

it('drops a byte order mark and passes over blank lines, counting them', async () => {
  expect(await read(utf8('\uFEFFa\n\n  \nb'))).toEqual([
    { number: 1, text: 'a' },
    { number: 4, text: 'b' },
  ]);
});

it('names the line that is not UTF-8', async () => {
  const bytes = Uint8Array.from([...utf8('{"a": 1}\n'), 0x22, 0xff, 0x22, 10]);
  await expect(read(bytes)).rejects.toThrow(
    new UserError('data.jsonl, line 2: not valid UTF-8. Save the file as UTF-8.'),
  );
});

it('stops at an enormous line before it fills the memory', async () => {
  async function* endless(): AsyncGenerator<Uint8Array> {
    yield utf8('short\n');
    for (;;) yield new Uint8Array(1000).fill(97);
  }
  const all = collect(linesOf(endless(), 'data.jsonl', 10_000));
  await expect(all).rejects.toThrow('data.jsonl, line 2: longer than 10000 bytes');
  await expect(read(utf8(`${'a'.repeat(11)}\nb`), [], 10)).rejects.toThrow('line 1: longer than 10 bytes');
  expect(await read(utf8('a'.repeat(10)), [], 10)).toHaveLength(1);
});
