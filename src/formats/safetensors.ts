import { UserError } from '../errors.ts';
import type { Tensor, Tensors } from '../tensor/tensor.ts';
import { dtypeBytes, fromFloat32, isDtype, toFloat32, type Dtype, type FloatDtype } from './dtype.ts';
import { duplicateKey, isRecord, show } from './json.ts';

/** One tensor of a file; `offset` counts bytes from the start of the file. */
export interface TensorEntry {
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  readonly offset: number;
  readonly length: number;
}

export interface SafetensorsHeader {
  /** In the order of their data. */
  readonly tensors: ReadonlyMap<string, TensorEntry>;
  readonly metadata: ReadonlyMap<string, string>;
  /** Where the data begin: 8 + length of the JSON. */
  readonly dataOffset: number;
}

/** The first 8 bytes: a little-endian count of the bytes of JSON that follow. */
export const PREFIX_BYTES = 8;

/** The reference implementation refuses longer ones too. */
const MAX_HEADER_BYTES = 100_000_000;

const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;

/** The length of the JSON, from a file's first 8 bytes and its size. Throws UserError where the file cannot hold it. */
export function headerLength(prefix: Uint8Array, fileSize: number, where: string): number {
  if (fileSize < PREFIX_BYTES || prefix.length < PREFIX_BYTES)
    throw new UserError(
      `${where}: ${fileSize} bytes are too short for a safetensors file (truncated, or another format)`,
    );
  const length = new DataView(prefix.buffer, prefix.byteOffset, PREFIX_BYTES).getBigUint64(0, true);
  if (length > BigInt(fileSize - PREFIX_BYTES))
    throw new UserError(
      `${where}: the header claims ${length} bytes but the file has ${fileSize} (truncated, or not a safetensors file)`,
    );
  if (length > BigInt(MAX_HEADER_BYTES))
    throw new UserError(
      `${where}: a header of ${length} bytes is longer than the ${MAX_HEADER_BYTES} that safetensors allows`,
    );
  return Number(length);
}

function parseHeaderJson(json: Uint8Array, where: string): Readonly<Record<string, unknown>> {
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(json);
  } catch (error) {
    throw new UserError(`${where}: the header is not UTF-8 text`, { cause: error });
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new UserError(`${where}: the header is not JSON: ${(error as Error).message}`, { cause: error });
  }
  if (!isRecord(value))
    throw new UserError(`${where}: the header must be a JSON object of tensors, found ${show(value)}`);
  const twice = duplicateKey(text);
  if (twice !== undefined) throw new UserError(`${where}: the header has the key ${show(twice)} twice`);
  return value;
}

function parseMetadata(value: unknown, where: string): ReadonlyMap<string, string> {
  if (!isRecord(value)) throw new UserError(`${where}: __metadata__ must be an object of texts, found ${show(value)}`);
  const metadata = new Map<string, string>();
  for (const [key, text] of Object.entries(value)) {
    if (typeof text !== 'string')
      throw new UserError(`${where}: __metadata__ ${show(key)} must be a text, found ${show(text)}`);
    metadata.set(key, text);
  }
  return metadata;
}

function parseEntry(name: string, value: unknown, dataOffset: number, dataLength: number, where: string): TensorEntry {
  const at = `${where}: tensor ${show(name)}`;
  if (!isRecord(value))
    throw new UserError(`${at} must be an object with dtype, shape and data_offsets, found ${show(value)}`);
  const { dtype, shape, data_offsets: offsets } = value;
  if (!isDtype(dtype))
    throw new UserError(`${at} has the unknown dtype ${show(dtype)}; known: ${Object.keys(dtypeBytes).join(', ')}`);
  if (!Array.isArray(shape) || !shape.every(isCount))
    throw new UserError(`${at}: shape must be a list of whole numbers from 0, found ${show(shape)}`);
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isCount))
    throw new UserError(`${at}: data_offsets must be two whole numbers from 0, found ${show(offsets)}`);
  const [begin, end] = offsets as [number, number];
  if (begin > end) throw new UserError(`${at}: data_offsets [${begin}, ${end}] run backwards`);
  if (end > dataLength)
    throw new UserError(`${at} ends at byte ${end} of the data, but the file holds only ${dataLength} (truncated?)`);
  const bytes = shape.reduce((product: number, size: number) => product * size, dtypeBytes[dtype]);
  if (bytes !== end - begin)
    throw new UserError(
      `${at}: shape [${shape.join(', ')}] of ${dtype} needs ${bytes} bytes but data_offsets [${begin}, ${end}] span ${end - begin}`,
    );
  return { dtype, shape, offset: dataOffset + begin, length: bytes };
}

/** Every byte of the data belongs to exactly one tensor: no other reader of the file can see different ones. */
function checkCover(
  entries: readonly (readonly [string, TensorEntry])[],
  fileSize: number,
  dataOffset: number,
  where: string,
) {
  let at = dataOffset;
  let before = 'the header';
  for (const [name, { offset, length }] of entries) {
    if (offset < at)
      throw new UserError(`${where}: tensor ${show(name)} overlaps ${before}: it begins ${at - offset} bytes early`);
    if (offset > at)
      throw new UserError(`${where}: a gap of ${offset - at} bytes between ${before} and tensor ${show(name)}`);
    at += length;
    before = `tensor ${show(name)}`;
  }
  if (at !== fileSize)
    throw new UserError(
      `${where}: ${fileSize - at} bytes after the last tensor belong to none (${fileSize} in the file)`,
    );
}

/**
 * Parses a header from its JSON bytes (those after the first 8) and the file's size; any length of header is accepted, aligned or not.
 * Throws UserError naming what is wrong and, as `where`, the file. Source: the safetensors format; stricter nowhere but in refusing
 * the tensor name `__proto__`.
 */
export function parseHeader(json: Uint8Array, fileSize: number, where: string): SafetensorsHeader {
  const header = parseHeaderJson(json, where);
  const dataOffset = PREFIX_BYTES + json.length;
  let metadata: ReadonlyMap<string, string> = new Map();
  const entries: (readonly [string, TensorEntry])[] = [];
  for (const [name, value] of Object.entries(header)) {
    if (name === '__metadata__') metadata = parseMetadata(value, where);
    else if (name === '__proto__') throw new UserError(`${where}: "__proto__" is not accepted as a tensor's name`);
    else entries.push([name, parseEntry(name, value, dataOffset, fileSize - dataOffset, where)]);
  }
  entries.sort(([, a], [, b]) => a.offset - b.offset || a.length - b.length);
  checkCover(entries, fileSize, dataOffset, where);
  return { tensors: new Map(entries), metadata, dataOffset };
}

/** A whole file in memory as its float32 tensors. Throws UserError for a malformed file. */
export function decodeSafetensors(
  bytes: Uint8Array,
  where: string,
): { readonly tensors: Tensors; readonly metadata: ReadonlyMap<string, string> } {
  const length = headerLength(bytes.subarray(0, PREFIX_BYTES), bytes.length, where);
  const header = parseHeader(bytes.subarray(PREFIX_BYTES, PREFIX_BYTES + length), bytes.length, where);
  const tensors = new Map<string, Tensor>();
  for (const [name, entry] of header.tensors) {
    const data = bytes.subarray(entry.offset, entry.offset + entry.length);
    tensors.set(name, { shape: entry.shape, data: toFloat32(data, entry.dtype, `${where}: tensor ${show(name)}`) });
  }
  return { tensors, metadata: header.metadata };
}

/** What to write for one tensor. */
export interface Planned {
  readonly name: string;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
}

const sizeOf = ({ dtype, shape }: Planned): number =>
  shape.reduce((product, size) => product * size, dtypeBytes[dtype]);

/** Prefix and JSON of a file with these tensors in this order, padded with spaces to a multiple of 8 bytes as the reference implementation does. */
export function encodeHeader(tensors: readonly Planned[], metadata: Readonly<Record<string, string>> = {}): Uint8Array {
  const parts: string[] = [];
  if (Object.keys(metadata).length > 0) parts.push(`"__metadata__":${JSON.stringify(metadata)}`);
  let at = 0;
  for (const tensor of tensors) {
    const end = at + sizeOf(tensor);
    const { dtype, shape } = tensor;
    parts.push(`${JSON.stringify(tensor.name)}:${JSON.stringify({ dtype, shape, data_offsets: [at, end] })}`);
    at = end;
  }
  const json = new TextEncoder().encode(`{${parts.join(',')}}`);
  const padded = Math.ceil(json.length / 8) * 8;
  const bytes = new Uint8Array(PREFIX_BYTES + padded).fill(0x20);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(padded), true);
  bytes.set(json, PREFIX_BYTES);
  return bytes;
}

/** A file's bytes in order: the header, then each tensor (sorted by name) in `dtype`. */
export function* safetensorsChunks(
  tensors: Tensors,
  dtype: FloatDtype,
  metadata?: Readonly<Record<string, string>>,
): Generator<Uint8Array> {
  const sorted = [...tensors].sort(([a], [b]) => (a < b ? -1 : 1));
  yield encodeHeader(
    sorted.map(([name, { shape }]) => ({ name, dtype, shape })),
    metadata,
  );
  for (const [, { data }] of sorted) yield fromFloat32(data, dtype);
}

/** The chunks of a file as one. */
export function joined(chunks: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(chunks.reduce((sum, chunk) => sum + chunk.length, 0));
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.length;
  }
  return bytes;
}
