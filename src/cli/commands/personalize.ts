import { existsSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { parse } from 'yaml';
import { parseConfig } from '../../config/parse.ts';
import { valueAt } from '../../config/problems.ts';
import { UserError } from '../../errors.ts';
import { openAdapter } from '../../formats/files/peft.ts';
import { textOfFile } from '../../formats/files/read.ts';
import { adapterFolders } from '../../run/adapters.ts';
import { runFolder } from '../../run/folder.ts';
import { knownMethods } from '../../run/methods.ts';
import { personalize } from '../../run/personalize.ts';
import type { Terminal } from '../context.ts';
import { modelSource } from '../open.ts';
import { showRun } from '../show-run.ts';

export interface PersonalizeFlags {
  readonly adapter: string;
  readonly data: string;
  readonly out: string;
  readonly model?: string;
  readonly config?: string;
  readonly resume?: boolean;
  readonly seed?: string;
  readonly set: readonly string[];
}

/** `fedlora personalize --adapter GLOBAL --data MINE`: the local stage of FedLoRA-Optimizer for someone who never took part. */
export async function personalizeCommand(flags: PersonalizeFlags, terminal: Terminal): Promise<void> {
  const { adapter, config: file, out } = flags;
  const text = file === undefined ? 'data: { format: jsonl }\n' : await textOfFile(file);
  const value = (content: unknown): string => JSON.stringify(content);
  const model = await modelOf(flags, text);
  const sets = [
    ...(model === undefined ? [] : [`model=${value(model)}`]),
    `data.path=${value(flags.data)}`,
    `clients=${value({ partition: 'iid', count: 1 })}`,
    `methods=${value([{ ...optionsIn(text), use: personalize.name }])}`,
    ...flags.set,
    ...(flags.seed === undefined ? [] : [`seed=${flags.seed}`]),
  ];
  const config = parseConfig(text, {
    file: file ?? 'fedlora personalize',
    methods: knownMethods([personalize]),
    sets,
    resolve: (path, from) => resolve(from === 'file' && file !== undefined ? dirname(file) : '.', path),
  });
  const options = { adapter, out, resume: flags.resume ?? false, methods: [personalize] };
  const again = `fedlora personalize (the same arguments) --resume`;
  const summary = await showRun(config, options, again, terminal);
  const folders = adapterFolders(
    runFolder(out),
    [personalize.name],
    summary.data.clients.map(({ id }) => id),
  );
  terminal.print(`your adapter: ${folders.client(personalize.name, summary.data.clients[0]!.id)}`);
}

/** The base model: as said, as the configuration says (undefined here), or as the adapter names it. */
async function modelOf({ model, adapter }: PersonalizeFlags, text: string): Promise<object | undefined> {
  if (model !== undefined) return modelSource(model);
  if (valueAt(parsed(text), ['model']) !== undefined) return undefined;
  const { baseModel } = (await openAdapter(adapter)).config;
  if (baseModel !== undefined && existsSync(join(baseModel, 'config.json'))) return { path: baseModel };
  const source = baseModel === undefined ? undefined : modelSource(baseModel);
  if (source?.hub === undefined)
    throw new UserError(`${adapter} names no base model that is here: give --model FOLDER`);
  return source;
}

/** The options with which a configuration runs the whole method. */
function optionsIn(text: string): object {
  const methods = valueAt(parsed(text), ['methods']);
  const own: unknown = Array.isArray(methods)
    ? methods.find((entry) => valueAt(entry, ['use']) === 'fedlora-optimizer')
    : undefined;
  const { use: _, label: __, ...options } = (own ?? {}) as Record<string, unknown>;
  return options;
}

/** Mistakes in the text are told when it is read as a configuration. */
function parsed(text: string): unknown {
  try {
    return parse(text);
  } catch {
    return undefined;
  }
}
