import { resolve } from 'node:path';
import { checkConfig } from '../config/check.ts';
import type { RunConfig } from '../config/schema.ts';
import { UserError } from '../errors.ts';
import type { Description } from '../federation/http/protocol.ts';
import type { Checking } from '../formats/files/digest.ts';
import { knownMethods } from './methods.ts';
import { differences, modelFiles } from './model-digest.ts';
import type { OpenModel } from './subject.ts';

/** Where the server says the base model is. Throws UserError where that is with itself only. */
export function sourceOf({ model: { hub, revision, name } }: Description): RunConfig['model'] {
  if (hub !== undefined) return { hub, ...(revision !== undefined && { revision }) };
  throw new UserError(`the server's base model “${name}” is not on the Hub: give your copy with --model FOLDER`);
}

/** The run's configuration as it is here; read strictly, like a file. */
export function configOf(
  told: Description['config'],
  model: RunConfig['model'],
  { data, threads }: { readonly data: string; readonly threads?: number },
): RunConfig {
  const { data: section, serve: _, runtime: __, ...rest } = told;
  const own = { ...(section as object), path: resolve(data) };
  return checkConfig(
    { ...rest, model, data: own, runtime: threads === undefined ? {} : { threads } },
    knownMethods(),
    () => ({ text: 'the run of this server', order: 0 }),
  );
}

/** Throws UserError, naming the files, where the model is not the run's to the last byte. */
export async function* requireModel(
  model: OpenModel,
  { model: { files, name } }: Description,
  signal: AbortSignal,
): AsyncGenerator<Checking, void> {
  const differing = differences(yield* modelFiles(model, signal), files);
  if (differing.length === 0) return;
  throw new UserError(
    `${model.folder} is not the base model of this run (${name}): ${differing.join('; ')}. Give the same model with --model`,
  );
}
