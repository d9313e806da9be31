import { createHash, type Hash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { basename } from 'node:path';
import type { RunConfig } from '../config/schema.ts';
import { loadClients, type LoadedData } from '../data/load.ts';
import { readServerRows, type ServerRows } from '../data/server-rows.ts';
import type { Tokenizer } from '../data/tokenizer.ts';
import type { ClientData, TokenRow } from '../data/types.ts';
import { Interrupted, UserError } from '../errors.ts';
import { checkFinite, openModelFolder } from '../formats/files/model.ts';
import { resolveHub, type HubProgress } from '../formats/files/hub.ts';
import { openTokenizer } from '../formats/files/tokenizer.ts';
import type { LoraLayout } from '../lora/adapter.ts';
import { loraLayout } from '../lora/layout.ts';
import { projectionsOf, weightShapes } from '../models/weights.ts';
import type { Engine } from '../runtime/engine.ts';
import { openEngine, type BaseModel } from '../runtime/node/open.ts';
import type { Tensors } from '../tensor/tensor.ts';
import { threadsOf } from './environment.ts';

/** A base model with its tokenizer, read as far as its headers. */
export interface OpenModel extends BaseModel {
  /** For people: the Hub id, or the folder's name. */
  readonly name: string;
  readonly folder: string;
  readonly parameters: number;
  readonly tokenizer: Tokenizer;
}

/** What is fetched from the Hub, and how far it is. */
export type Fetching = { readonly kind: 'fetching'; readonly what: string; readonly progress: HubProgress };

/** The local folder (or file) of a model or data set: its path, or where its copy from the Hub lies. */
export async function* locate(
  kind: 'model' | 'dataset',
  { path, hub, revision }: RunConfig['model'],
  signal?: AbortSignal,
): AsyncGenerator<Fetching, string> {
  if (path !== undefined) {
    if (existsSync(path)) return path;
    throw new UserError(
      kind === 'model'
        ? `model.path (or --model): ${path}: no such folder`
        : `data.path: ${path}: no such file or folder`,
    );
  }
  if (hub === undefined)
    throw new UserError('`serve`: the data of this configuration are with its clients. Run it with `fedlora serve`.');
  const request = { kind, id: hub, ...(revision !== undefined && { revision }), ...(signal && { signal }) };
  const steps = resolveHub(request);
  for (;;) {
    const next = await steps.next();
    if (next.done) return next.value;
    yield { kind: 'fetching', what: `${kind} ${hub}`, progress: next.value };
  }
}

/** The same, for who waits; `tell` is told of what is fetched, and how far it is. */
export async function located(
  kind: 'model' | 'dataset',
  source: RunConfig['model'],
  signal: AbortSignal,
  tell: (fetching: Fetching) => void = () => undefined,
): Promise<string> {
  const steps = locate(kind, source, signal);
  for (;;) {
    const next = await steps.next();
    if (next.done) return next.value;
    tell(next.value);
  }
}

/** Opens a model's folder; `name` is for people. Throws UserError where something is missing or does not fit. */
export async function openModel(folder: string, name = basename(folder)): Promise<OpenModel> {
  const { config, store } = await openModelFolder(folder);
  const tokenizer = await openTokenizer(folder);
  if (tokenizer.vocabularySize > config.vocabularySize) {
    throw new UserError(
      `${folder}: the tokenizer has ids up to ${tokenizer.vocabularySize - 1}, but the model's vocabulary ends at ${config.vocabularySize - 1}: they do not belong together`,
    );
  }
  const parameters = [...weightShapes(config).values()].reduce(
    (sum, shape) => sum + shape.reduce((a, b) => a * b, 1),
    0,
  );
  return { config, store, name, folder, parameters, tokenizer };
}

/**
 * Runs `measure` on the base model; where it fails, and a weight is not finite, throws UserError with the first such weight
 * in place of its error. Weights are only read through after a failure: a large model's take minutes.
 */
export async function withFiniteWeights<T>(model: OpenModel, measure: () => Promise<T>): Promise<T> {
  try {
    return await measure();
  } catch (error) {
    if (error instanceof UserError || error instanceof Interrupted) throw error;
    const scan = checkFinite(model.store.tensors.values());
    while (!(await scan.next()).done);
    throw error;
  }
}

/** The adapter's layout on this model. */
export const layoutOf = (model: BaseModel, lora: RunConfig['lora']): LoraLayout =>
  loraLayout(projectionsOf(model.config), lora);

export const engineOf = (model: BaseModel, layout: LoraLayout, runtime: RunConfig['runtime']): Promise<Engine> =>
  openEngine({ model, layout, runtime: { ...runtime, threads: threadsOf(runtime) } });

/** Reads a configuration's data, tokenised and dealt to clients, or all of it as `owner`'s. */
export async function openData(
  config: Pick<RunConfig, 'data' | 'clients' | 'seed'>,
  source: string,
  model: OpenModel,
  signal?: AbortSignal,
  owner?: string,
): Promise<LoadedData> {
  const { data, clients, seed } = config;
  return loadClients({
    source,
    data,
    clients,
    tokenizer: model.tokenizer,
    seed,
    modelLength: longest(model.config),
    ...(owner !== undefined && { owner }),
    ...(signal && { signal }),
  });
}

/** Tokens of a row that the model takes: its positions, and no more than its sliding window. */
const longest = ({ maxPositions, slidingWindow }: OpenModel['config']): number =>
  Math.min(maxPositions, slidingWindow ?? Infinity);

/** Reads the server's own rows from the file that a configuration names. */
export const openServerRows = (
  { data, seed }: Pick<RunConfig, 'data' | 'seed'>,
  path: string,
  model: OpenModel,
  signal: AbortSignal,
): Promise<ServerRows> =>
  readServerRows(path, { data, tokenizer: model.tokenizer, seed, modelLength: longest(model.config), signal });

/** A digest of every row that is trained on or scored, in order: the same data give the same run. New clients' and global test rows count only where there are any. */
export function dataDigest(data: LoadedData): string {
  const hash = createHash('sha256');
  const rows = (name: string, list: readonly TokenRow[]): void => {
    hash.update(JSON.stringify([name, list.length]));
    addRows(hash, list);
  };
  const all = ({ id, train, validation, test }: ClientData): void => {
    hash.update(JSON.stringify(id));
    rows('train', train);
    rows('validation', validation);
    rows('test', test);
  };
  data.clients.forEach(all);
  rows('proxy', data.proxy);
  if (data.newClients.length > 0) hash.update('new clients');
  data.newClients.forEach(all);
  if (data.heldOut.rows.length > 0) rows('global test rows', data.heldOut.rows);
  return hash.digest('hex');
}

/** A digest of rows that one side has and the run depends on, in order. */
export function rowsDigest(rows: readonly TokenRow[]): string {
  const hash = createHash('sha256');
  addRows(hash, rows);
  return hash.digest('hex');
}

function addRows(hash: Hash, rows: readonly TokenRow[]): void {
  for (const { id, ids, labelled } of rows)
    hash
      .update(JSON.stringify([id, ids.length]))
      .update(ids)
      .update(labelled);
}

/** A digest of named tensors: names, shapes and bits. */
export function tensorsDigest(tensors: Tensors): string {
  const hash = createHash('sha256');
  for (const [name, { shape, data }] of tensors) {
    hash.update(JSON.stringify([name, shape])).update(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  }
  return hash.digest('hex');
}
