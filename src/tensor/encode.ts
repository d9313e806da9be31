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
 * A state as bytes, for the journal: `decodeState` gives it back bit for bit, −0 and NaN within tensors included.
 * Throws, with the path, for what a State cannot hold: NaN outside tensors, undefined, functions, cycles, class instances.
 */
export function encodeState(state: State): Uint8Array<ArrayBuffer> {
  const chunks: Float32Array[] = [];
  const json = new TextEncoder().encode(JSON.stringify(encodeValue(state, '', chunks, new Set())));
  const start = align(HEADER + json.length);
  const bytes = new Uint8Array(start + chunks.reduce((sum, chunk) => sum + chunk.byteLength, 0));
  bytes.set(MAGIC);
  new DataView(bytes.buffer).setUint32(MAGIC.length, json.length, true);
  bytes.set(json, HEADER);
  let at = start;
  for (const chunk of chunks) {
    bytes.set(new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.byteLength), at);
    at += chunk.byteLength;
  }
  return bytes;
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

/** The state that `encodeState` wrote. Tensors are copies. Throws where the bytes are truncated, damaged or something else. */
export function decodeState(bytes: Uint8Array): State {
  if (bytes.length < HEADER || MAGIC.some((byte, i) => bytes[i] !== byte)) throw damaged('it does not begin as one');
  const length = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getUint32(MAGIC.length, true);
  if (HEADER + length > bytes.length) throw damaged('it is truncated');
  let json: Json;
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(bytes.subarray(HEADER, HEADER + length));
    json = JSON.parse(text) as Json;
  } catch (cause) {
    throw damaged('its text cannot be read', cause);
  }
  const reader = { bytes, at: align(HEADER + length) };
  const state = decodeValue(json, reader);
  if (reader.at !== bytes.length) throw damaged(`${bytes.length - reader.at} bytes are left over`);
  return state;
}

interface Reader {
  readonly bytes: Uint8Array;
  at: number;
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
  const size = sizeOf(shape);
  const end = reader.at + 4 * size;
  if (end > reader.bytes.length) throw damaged('it is truncated');
  // A copy of the bytes, whose own offset need not be a multiple of 4 (and Buffer's slice would be a view).
  const data = new Float32Array(new Uint8Array(reader.bytes.subarray(reader.at, end)).buffer);
  reader.at = end;
  return { shape, data };
}

const damaged = (why: string, cause?: unknown): Error =>
  new Error(`these bytes are not a whole state: ${why}`, cause === undefined ? undefined : { cause });
