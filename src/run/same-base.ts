import { existsSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { parse } from 'yaml';
import { valueAt } from '../config/problems.ts';
import type { RunConfig } from '../config/schema.ts';
import { UserError } from '../errors.ts';
import type { Checking } from '../formats/files/digest.ts';
import { textOfFile } from '../formats/files/read.ts';
import { runFolder } from './folder.ts';
import { modelDigest } from './model-digest.ts';
import type { OpenModel } from './subject.ts';

/**
 * Throws UserError where the base model no longer is what a run in `path` was started with: adapters mean nothing beside other
 * weights. Reads its files whole, the large ones the first time only.
 */
export async function* requireSameBase(
  path: string,
  model: OpenModel,
  signal: AbortSignal,
): AsyncGenerator<Checking, void> {
  const { environment } = runFolder(path);
  const then = valueAt(await read(environment, JSON.parse), ['identity', 'model']);
  if (typeof then !== 'string') throw new UserError(`${environment} does not say which base model the run had`);
  if (then === (yield* modelDigest(model, signal))) return;
  throw new UserError(
    `the base model in ${model.folder} is not the one of the run in ${path} (SHA-256 of config.json and all weight files), to which its adapters belong: put that back, or run again`,
  );
}

/** The same for an adapter, where it lies in the folder of a run on a model from the same place. */
export async function* requireSameBaseOf(
  adapter: string,
  source: RunConfig['model'],
  model: OpenModel,
  signal: AbortSignal,
): AsyncGenerator<Checking, void> {
  const path = runAround(adapter);
  if (path === undefined) return;
  // Not read as a configuration: it may name methods that only the run's caller knew.
  const { config } = runFolder(path);
  const own = await read(config, parse);
  const same = (['path', 'hub', 'revision'] as const).every((key) => valueAt(own, ['model', key]) === source[key]);
  if (same) yield* requireSameBase(path, model, signal);
}

/** The run in whose `adapters/<method>/global` or `adapters/<method>/clients/<id>` an adapter lies. */
function runAround(adapter: string): string | undefined {
  let folder = resolve(adapter);
  for (let up = 0; up < 4; up++) {
    folder = dirname(folder);
    if (existsSync(join(folder, 'environment.json')) && existsSync(join(folder, 'config.yaml'))) return folder;
  }
  return undefined;
}

async function read(path: string, parsed: (text: string) => unknown): Promise<unknown> {
  const text = await textOfFile(path);
  try {
    return parsed(text);
  } catch (error) {
    throw new UserError(`${path} cannot be read: ${(error as Error).message}`, { cause: error });
  }
}
