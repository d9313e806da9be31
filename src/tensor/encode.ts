import type { State } from './state.ts';
import type { Tensor } from './tensor.ts';
import { sizeOf } from './tensors.ts';

/*
 * The bytes of a state: "FLS1", the length of a JSON text as uint32, the text, zeros up to a multiple of 4, then the float32
 * data of all tensors in the order in which the text names them. Little-endian. In the text, null, booleans, strings, arrays
 * and most numbers are themselves; an object has one key that says what it stands for:
 *   { "t": shape }            a tensor           { "m": [[name, shape], …] }   tensors by name
 *   { "o": [[key, value], …]} an object          { "n": "-0" | "Infinity" | "-Infinity" }
 * Keys and names are never property names, so those of a hostile state (`__proto__`) do no harm.
 */
type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

const MAGIC = new TextEncoder().encode('FLS1');
const HEADER = 8;

if (new Uint8Array(Uint16Array.of(1).buffer)[0] !== 1) throw new Error('fedlora needs a little-endian machine');

/**
 * A state as bytes, for the journal: `decodeChunks` gives it back bit for bit, −0 and NaN within tensors included.
 * Throws, with the path, for what a State cannot hold: NaN outside tensors, undefined, functions, cycles, class instances.
 */
export const encodeState = (state: State): Uint8Array<ArrayBuffer> => {
  const chunks = stateChunks(state);
  const bytes = new Uint8Array(chunks.reduce((sum, chunk) => sum + chunk.length, 0));
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.length;
  }
  return bytes;
};

/** The same bytes in pieces: what comes before the tensors, then each tensor's own memory. Throws as `encodeState`. */
export function stateChunks(state: State): readonly Uint8Array[] {
  const chunks: Float32Array[] = [];
  const json = new TextEncoder().encode(JSON.stringify(encodeValue(state, '', chunks, new Set())));
  const head = new Uint8Array(align(HEADER + json.length));
  head.set(MAGIC);
  new DataView(head.buffer).setUint32(MAGIC.length, json.length, true);
  head.set(json, HEADER);
  return [head, ...chunks.map(({ buffer, byteOffset, byteLength }) => new Uint8Array(buffer, byteOffset, byteLength))];
}

const align = (length: number): number => Math.ceil(length / 4) * 4;

function encodeValue(value: unknown, path: string, chunks: Float32Array[], above: Set<object>): Json {
  if (value === null || typeof value === 'boolean' || typeof value === 'string') return value;
  if (typeof value === 'number') return encodeNumber(value, path);
  if (typeof value !== 'object') throw refused(path, `a ${typeof value}`);
  if (above.has(value)) throw refused(path, 'something that contains itself');
  above.add(value);
  const encoded = encodeObject(value, path, chunks, above);
  above.delete(value);
  return encoded;
}

function encodeNumber(value: number, path: string): Json {
  if (Number.isNaN(value)) throw refused(path, 'NaN');
  if (Object.is(value, -0)) return { n: '-0' };
  return Number.isFinite(value) ? value : { n: String(value) };
}

function encodeObject(value: object, path: string, chunks: Float32Array[], above: Set<object>): Json {
  if (Array.isArray(value)) {
    return Array.from(value, (entry: unknown, i) => encodeValue(entry, `${path}[${i}]`, chunks, above));
  }
  if (value instanceof Map) {
    return { m: [...(value as Map<unknown, unknown>)].map(([name, entry]) => encodeEntry(name, entry, path, chunks)) };
  }
  if ('data' in value && value.data instanceof Float32Array) return { t: encodeTensor(value, path, chunks) };
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null) throw refused(path, `an instance of ${className(value)}`);
  return { o: Object.entries(value).map(([key, entry]) => [key, encodeValue(entry, join(path, key), chunks, above)]) };
}

function encodeEntry(name: unknown, entry: unknown, path: string, chunks: Float32Array[]): Json {
  if (typeof name !== 'string') throw refused(path, `a map with a key that is a ${typeof name}`);
  const isTensor = typeof entry === 'object' && entry !== null && 'data' in entry && entry.data instanceof Float32Array;
  if (!isTensor) throw refused(join(path, name), 'an entry of a map that is not a tensor');
  return [name, encodeTensor(entry, join(path, name), chunks)];
}

function encodeTensor(value: object, path: string, chunks: Float32Array[]): number[] {
  const { shape, data, ...rest } = value as Tensor;
  const good = Array.isArray(shape) && (shape as unknown[]).every(isSize) && Object.keys(rest).length === 0;
  if (!good || sizeOf(shape) !== data.length) {
    throw refused(
      path,
      `a tensor whose shape is not that of its ${data.length} numbers, or with more than shape and data`,
    );
  }
  chunks.push(data);
  return [...shape];
}

const isSize = (n: unknown): n is number => Number.isSafeInteger(n) && (n as number) >= 0;
const join = (path: string, key: string): string => (path === '' ? key : `${path}.${key}`);
const className = (value: object): string => value.constructor?.name ?? 'a class';
const refused = (path: string, what: string): Error =>
  new Error(`a state cannot hold ${what}${path === '' ? '' : ` (at ${path})`}`);

/**
 * The state that `encodeState` wrote, from its bytes in pieces, `size` in all; tensors are copies. Throws where the bytes are
 * truncated, damaged or something else. Each piece is let go before the next is asked for, so that no more is in
 * memory than the state and one piece, whose memory may be used again for the next.
 */
export function decodeChunks(chunks: Iterable<Uint8Array>, size: number): State {
  const reader = readerOf(chunks, size);
  const head = reader.left() < HEADER ? undefined : reader.take(HEADER);
  if (head === undefined || MAGIC.some((byte, i) => head[i] !== byte)) throw damaged('it does not begin as one');
  const length = new DataView(head.buffer).getUint32(MAGIC.length, true);
  let json: Json;
  const text = reader.take(length);
  try {
    json = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(text)) as Json;
  } catch (cause) {
    throw damaged('its text cannot be read', cause);
  }
  reader.take(align(HEADER + length) - HEADER - length);
  const state = decodeValue(json, reader);
  if (reader.left() > 0) throw damaged(`${reader.left()} bytes are left over`);
  return state;
}

interface Reader {
  /** The next bytes as a copy of their own, aligned. Throws where there are fewer. */
  take(length: number): Uint8Array<ArrayBuffer>;
  left(): number;
}

function readerOf(chunks: Iterable<Uint8Array>, size: number): Reader {
  const rest = chunks[Symbol.iterator]();
  let chunk = new Uint8Array(0) as Uint8Array;
  let left = size;
  return {
    left: () => left,
    take(length) {
      if (length > left) throw damaged('it is truncated');
      const out = new Uint8Array(length);
      for (let at = 0; at < length;) {
        if (chunk.length === 0) {
          const next = rest.next();
          if (next.done === true) throw damaged('it is truncated');
          chunk = next.value;
          continue;
        }
        const piece = chunk.subarray(0, length - at);
        out.set(piece, at);
        at += piece.length;
        chunk = chunk.subarray(piece.length);
      }
      left -= length;
      return out;
    },
  };
}

function decodeValue(json: Json, reader: Reader): State {
  if (json === null || typeof json !== 'object') return json;
  if (Array.isArray(json)) return json.map((entry) => decodeValue(entry, reader));
  const [tag = '', content] = Object.entries(json)[0] ?? [];
  switch (tag) {
    case 'n':
      return readNumber(content);
    case 't':
      return readTensor(content, reader);
    case 'm':
      return new Map(pairs(content).map(([name, shape]) => [name, readTensor(shape, reader)]));
    case 'o':
      return Object.fromEntries(pairs(content).map(([key, entry]) => [key, decodeValue(entry, reader)]));
    default:
      throw damaged(`it has an unknown part "${tag}"`);
  }
}

const NUMBERS = new Map<unknown, number>([
  ['-0', -0],
  ['Infinity', Infinity],
  ['-Infinity', -Infinity],
]);

function readNumber(written: unknown): number {
  const number = NUMBERS.get(written);
  if (number === undefined) throw damaged(`a number is written as ${String(written)}`);
  return number;
}

function pairs(json: Json | undefined): [string, Json][] {
  const good =
    Array.isArray(json) &&
    json.every((pair) => Array.isArray(pair) && pair.length === 2 && typeof pair[0] === 'string');
  if (!good) throw damaged('a list of names and values is not one');
  return json as [string, Json][];
}

function readTensor(shape: Json | undefined, reader: Reader): Tensor {
  if (!Array.isArray(shape) || !shape.every(isSize)) throw damaged('a tensor has no shape');
  return { shape, data: new Float32Array(reader.take(4 * sizeOf(shape)).buffer) };
}

const damaged = (why: string, cause?: unknown): Error =>
  new Error(`these bytes are not a whole state: ${why}`, cause === undefined ? undefined : { cause });
