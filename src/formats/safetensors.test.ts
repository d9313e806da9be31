import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { encodeSafetensors } from '../../tests/support/safetensors.ts';
import { UserError } from '../errors.ts';
import type { Tensor } from '../tensor/tensor.ts';
import { dtypeBytes, toFloat32, type Dtype } from './dtype.ts';
import { decodeSafetensors, encodeHeader, headerLength, parseHeader } from './safetensors.ts';

/** A file with this header text and so many bytes of data. */
function fileOf(header: string | Uint8Array, dataBytes: number, claimed?: number): Uint8Array {
  const json = typeof header === 'string' ? new TextEncoder().encode(header) : header;
  const bytes = new Uint8Array(8 + json.length + dataBytes);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(claimed ?? json.length), true);
  bytes.set(json, 8);
  return bytes;
}

const bytesOf = (array: ArrayBufferView) => new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
const decode = (bytes: Uint8Array) => decodeSafetensors(bytes, 'x.safetensors');
const entry = (begin: number, end: number, shape: unknown = [(end - begin) / 4], dtype: unknown = 'F32') =>
  JSON.stringify({ dtype, shape, data_offsets: [begin, end] });

const tensor: fc.Arbitrary<Tensor> = fc.array(fc.nat(4), { maxLength: 4 }).chain((shape) => {
  const length = shape.reduce((a, b) => a * b, 1);
  return fc.float32Array({ minLength: length, maxLength: length }).map((data) => ({ shape, data }));
});
const names = fc.string({ unit: 'binary', minLength: 1 }).filter((n) => !['__metadata__', '__proto__'].includes(n));
const texts = fc.dictionary(fc.string(), fc.string(), { maxKeys: 3, noNullPrototype: true });

describe('safetensors', () => {
  it('returns what was written: names, shapes, bits and metadata', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(names, tensor), { maxLength: 6 }), texts, (list, metadata) => {
        const tensors = new Map(list);
        const read = decode(encodeSafetensors(tensors, 'F32', metadata));
        expect(new Set(read.tensors.keys())).toEqual(new Set(tensors.keys()));
        for (const [name, { shape, data }] of tensors) {
          expect(read.tensors.get(name)?.shape).toEqual(shape);
          expect(new Uint32Array(read.tensors.get(name)!.data.buffer)).toEqual(new Uint32Array(data.slice().buffer));
        }
        expect(Object.fromEntries(read.metadata)).toEqual({ ...metadata });
      }),
    );
  });

  it('writes the bytes of the reference implementation', () => {
    const tensors = new Map([
      ['b', { shape: [], data: Float32Array.of(2) }],
      ['a', { shape: [1, 2], data: Float32Array.of(1, -1) }],
    ]);
    const text = `{"__metadata__":{"format":"pt"},"a":${entry(0, 8, [1, 2])},"b":${entry(8, 12, [])}}`;
    const bytes = encodeSafetensors(tensors, 'F32', { format: 'pt' });
    const length = Math.ceil(text.length / 8) * 8;
    expect(Number(new DataView(bytes.buffer).getBigUint64(0, true))).toBe(length);
    expect(new TextDecoder().decode(bytes.subarray(8, 8 + length))).toBe(text.padEnd(length));
    expect([...new Float32Array(bytes.slice(8 + length).buffer)]).toEqual([1, -1, 2]);
  });

  it('writes and reads half precision', () => {
    const tensors = new Map([['w', { shape: [3], data: Float32Array.of(1, -0.5, 65504) }]]);
    for (const dtype of ['F16', 'BF16'] as const) {
      const bytes = encodeSafetensors(tensors, dtype);
      const values = decode(bytes).tensors.get('w')!.data;
      expect([...values]).toEqual([1, -0.5, dtype === 'F16' ? 65504 : 65536]);
      expect(new TextDecoder().decode(bytes)).toContain(`"dtype":"${dtype}"`);
    }
  });

  it('accepts a header of any length, hence data at odd offsets', () => {
    for (let spaces = 0; spaces < 9; spaces++) {
      const file = fileOf(`{"w":${entry(0, 8)}}${' '.repeat(spaces)}`, 8);
      file.set(new Uint8Array(Float32Array.of(3.5, -7).buffer), file.length - 8);
      expect([...decode(file).tensors.get('w')!.data]).toEqual([3.5, -7]);
      // A Buffer's own slice() shares memory; its offset must not matter either.
      expect([...decode(Buffer.from(file)).tensors.get('w')!.data]).toEqual([3.5, -7]);
    }
  });

  it('reads every numeric type', () => {
    const read: readonly (readonly [Dtype, ArrayBufferView, number[]])[] = [
      ['F64', Float64Array.of(0.5, -1e300), [0.5, -Infinity]],
      ['I64', BigInt64Array.of(-3n, 5n), [-3, 5]],
      ['U64', BigUint64Array.of(7n), [7]],
      ['I32', Int32Array.of(-70000), [-70000]],
      ['U32', Uint32Array.of(4e9), [4e9]],
      ['I16', Int16Array.of(-300), [-300]],
      ['U16', Uint16Array.of(65535), [65535]],
      ['I8', Int8Array.of(-5), [-5]],
      ['U8', Uint8Array.of(250), [250]],
      ['BOOL', Uint8Array.of(1, 0), [1, 0]],
    ];
    for (const [dtype, array, values] of read) expect([...toFloat32(bytesOf(array), dtype, 'w')]).toEqual(values);
    expect(() => toFloat32(new Uint8Array(2), 'F8_E4M3', 'w')).toThrow(/w: type F8_E4M3 cannot be read as numbers/);
  });

  it('gives absolute offsets, in the order of the data', () => {
    const json = new TextEncoder().encode(
      `{"b":${entry(4, 12, [2, 1])},"empty":${entry(4, 4, [0, 7])},"a":${entry(0, 4)}}`,
    );
    const header = parseHeader(json, 8 + json.length + 12, 'x');
    const at = 8 + json.length;
    expect([...header.tensors]).toEqual([
      ['a', { dtype: 'F32', shape: [1], offset: at, length: 4 }],
      ['empty', { dtype: 'F32', shape: [0, 7], offset: at + 4, length: 0 }],
      ['b', { dtype: 'F32', shape: [2, 1], offset: at + 4, length: 8 }],
    ]);
  });

  const huge = 2 ** 53 - 1;
  const deep = `${'['.repeat(20_000)}${']'.repeat(20_000)}`;
  it.each<readonly [what: string, file: Uint8Array, message: RegExp]>([
    ['an empty file', new Uint8Array(0), /0 bytes are too short/],
    ['half a prefix', new Uint8Array(5), /5 bytes are too short/],
    ['a header longer than the file', fileOf('{}', 0, 3), /header claims 3 bytes but the file has 10/],
    ['a header length beyond 2^53', new Uint8Array(16).fill(255), /header claims 18446744073709551615 bytes/],
    ['no header', fileOf('', 0), /header is not JSON/],
    ['a pickle', fileOf('PK\u0003\u0004abc', 0), /header is not JSON/],
    ['broken JSON', fileOf('{"a":', 0), /header is not JSON/],
    ['broken UTF-8', fileOf(Uint8Array.of(0x7b, 0xff, 0x7d), 0), /not UTF-8/],
    ['a byte order mark', fileOf('\uFEFF{}', 0), /not JSON/],
    ['a list', fileOf('[]', 0), /must be a JSON object of tensors, found \[\]/],
    ['null', fileOf('null', 0), /must be a JSON object/],
    ['a deep list', fileOf(`{"a":${deep}}`, 0), /tensor "a" must be an object/],
    [
      'a number for a tensor',
      fileOf('{"a":3}', 0),
      /tensor "a" must be an object with dtype, shape and data_offsets, found 3/,
    ],
    [
      'an unknown dtype',
      fileOf(`{"a":${entry(0, 4, [1], 'F33')}}`, 4),
      /tensor "a" has the unknown dtype "F33"; known: BOOL, U8/,
    ],
    [
      'a dtype of an object property',
      fileOf(`{"a":${entry(0, 4, [1], 'constructor')}}`, 4),
      /unknown dtype "constructor"/,
    ],
    ['no dtype', fileOf('{"a":{"shape":[1],"data_offsets":[0,4]}}', 4), /unknown dtype undefined/],
    [
      'a negative size',
      fileOf(`{"a":${entry(0, 4, [-1])}}`, 4),
      /shape must be a list of whole numbers from 0, found \[-1\]/,
    ],
    ['a fractional size', fileOf(`{"a":${entry(0, 4, [1.5])}}`, 4), /shape must be a list/],
    ['a size in text', fileOf(`{"a":${entry(0, 4, ['1'])}}`, 4), /shape must be a list/],
    ['no shape', fileOf('{"a":{"dtype":"F32","data_offsets":[0,4]}}', 4), /shape must be a list.* found undefined/],
    [
      'one offset',
      fileOf('{"a":{"dtype":"F32","shape":[1],"data_offsets":[0]}}', 4),
      /data_offsets must be two whole numbers/,
    ],
    ['a fractional offset', fileOf(`{"a":${entry(0, 4.5, [1])}}`, 5), /data_offsets must be two whole numbers/],
    ['offsets that run backwards', fileOf(`{"a":${entry(4, 0, [1])}}`, 4), /data_offsets \[4, 0\] run backwards/],
    [
      'data beyond the end',
      fileOf(`{"a":${entry(0, 8)}}`, 7),
      /tensor "a" ends at byte 8 of the data, but the file holds only 7/,
    ],
    [
      'a shape that does not fit',
      fileOf(`{"a":${entry(0, 8, [3])}}`, 8),
      /shape \[3\] of F32 needs 12 bytes but data_offsets \[0, 8\] span 8/,
    ],
    [
      'a shape that overflows',
      fileOf(`{"a":${entry(0, 4, [huge, huge, huge])}}`, 4),
      /needs .* bytes but data_offsets/,
    ],
    [
      'a gap',
      fileOf(`{"a":${entry(0, 4)},"b":${entry(8, 12)}}`, 12),
      /a gap of 4 bytes between tensor "a" and tensor "b"/,
    ],
    ['a gap at the start', fileOf(`{"a":${entry(4, 8)}}`, 8), /a gap of 4 bytes between the header and tensor "a"/],
    [
      'an overlap',
      fileOf(`{"a":${entry(0, 8)},"b":${entry(4, 12)}}`, 12),
      /tensor "b" overlaps tensor "a": it begins 4 bytes early/,
    ],
    ['one place twice', fileOf(`{"a":${entry(0, 4)},"b":${entry(0, 4)}}`, 4), /tensor "b" overlaps tensor "a"/],
    ['bytes of no tensor', fileOf(`{"a":${entry(0, 4)}}`, 6), /2 bytes after the last tensor belong to none/],
    ['a name twice', fileOf(`{"a":${entry(0, 4)},"a":${entry(0, 4)}}`, 4), /has the key "a" twice/],
    ['a name twice, once escaped', fileOf(`{"a":${entry(0, 4)},"\\u0061":${entry(0, 4)}}`, 4), /has the key "a" twice/],
    [
      'a field twice',
      fileOf('{"a":{"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]}}', 4),
      /has the key "dtype" twice/,
    ],
    [
      'metadata of numbers',
      fileOf('{"__metadata__":{"format":1}}', 0),
      /__metadata__ "format" must be a text, found 1/,
    ],
    ['metadata as a list', fileOf('{"__metadata__":["pt"]}', 0), /__metadata__ must be an object of texts/],
    ['a tensor __proto__', fileOf(`{"__proto__":${entry(0, 4)}}`, 4), /"__proto__" is not accepted/],
  ])('refuses %s', (_, file, message) => {
    expect(() => decode(file)).toThrow(message);
    expect(() => decode(file)).toThrow(UserError);
    expect(() => decode(file)).toThrow(/^x\.safetensors: /);
  });

  it('refuses a header beyond the limit of the format before reading it', () => {
    const prefix = fileOf('', 0, 100_000_001);
    expect(() => headerLength(prefix, 200_000_000, 'x')).toThrow(/100000001 bytes is longer than the 100000000/);
  });

  it('never fails with anything but a UserError: any bytes, any JSON, any damage to a good file', () => {
    const good = encodeSafetensors(
      new Map([['a.weight', { shape: [2, 2], data: Float32Array.of(1, 2, 3, 4) }]]),
      'F32',
      { format: 'pt' },
    );
    const damaged = fc
      .tuple(
        fc.array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { minLength: 1, maxLength: 4 }),
        fc.nat(good.length),
      )
      .map(([changes, length]) => {
        const bytes = good.slice();
        for (const [at, value] of changes) bytes[at] = value;
        return length % 3 === 0 ? bytes.slice(0, length) : bytes;
      });
    const field = fc.oneof(
      fc.constantFrom(...Object.keys(dtypeBytes)),
      fc.array(fc.oneof(fc.integer(), fc.nat(8))),
      fc.jsonValue(),
    );
    const shaped = fc.dictionary(
      fc.string(),
      fc.record({ dtype: field, shape: field, data_offsets: field }, { requiredKeys: [] }),
    );
    const any = fc.oneof(
      fc.uint8Array({ maxLength: 64 }),
      fc
        .tuple(
          fc.oneof(
            fc.json(),
            shaped.map((value) => JSON.stringify(value)),
          ),
          fc.nat(40),
        )
        .map(([text, data]) => fileOf(text, data)),
      damaged,
    );
    fc.assert(
      fc.property(any, (bytes) => {
        try {
          decode(bytes);
        } catch (error) {
          expect(error).toBeInstanceOf(UserError);
        }
      }),
      { numRuns: 3000 },
    );
  });

  it('plans a header for other types too', () => {
    const header = encodeHeader([{ name: 'q', dtype: 'U8', shape: [3] }]);
    expect(header.length % 8).toBe(0);
    expect([...parseHeader(header.subarray(8), header.length + 3, 'x').tensors.keys()]).toEqual(['q']);
  });
});
