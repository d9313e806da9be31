import { dirname, resolve } from 'node:path';
import { parseConfig } from '../config/parse.ts';
import type { RunConfig } from '../config/schema.ts';
import { textOfFile } from '../formats/files/read.ts';
import type { Method } from '../methods/method.ts';
import { knownMethods } from './methods.ts';

export interface ReadConfigOptions {
  /** `a.b=value` each, over what the file says; paths in them are meant from the working folder. */
  readonly sets?: readonly string[];
  /** Own methods that it may name. */
  readonly methods?: readonly Method[];
}

/** Reads a run's configuration from a YAML file. Throws UserError with the place of every mistake and what would be right. */
export async function readConfig(file: string, options: ReadConfigOptions = {}): Promise<RunConfig> {
  return parseConfig(await textOfFile(file), {
    file,
    methods: knownMethods(options.methods),
    ...(options.sets && { sets: options.sets }),
    resolve: (path, from) => resolve(from === 'file' ? dirname(file) : '.', path),
  });
}
