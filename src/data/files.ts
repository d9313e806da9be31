import { createReadStream } from 'node:fs';
import { readdir, readFile, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { UserError } from '../errors.ts';
import { stream } from '../tensor/random.ts';
import { dollyRow } from './dolly.ts';
import { jsonlRow } from './jsonl.ts';
import { decoded, linesOf } from './lines.ts';
import type { DataConfig } from './load.ts';
import { hubRow, instanceExample, instanceId, parseTask, type Shown } from './natural-instructions.ts';
import { count, field, gather, isRow, kindOf, parseJson, parseRow, type Dataset } from './rows.ts';

/** What of the settings reading needs. */
export type ReadConfig = Pick<DataConfig, 'format' | 'columns' | 'naturalInstructions'>;

interface ReadOptions {
  /** Draws `naturalInstructions.perTask` instances. */
  readonly seed?: number;
  readonly signal?: AbortSignal;
}

/**
 * Reads a data set from a file or a folder. Of a folder: every `.jsonl` file in order of name (dolly, jsonl), or every
 * `task*.json` or `task*.jsonl` file of it, of `tasks/`, or of `train/` and `test/` (natural-instructions).
 * Rows without a response are dropped and counted. Throws UserError with the file and the line for anything malformed.
 */
export async function readDataset(source: string, config: ReadConfig, options: ReadOptions = {}): Promise<Dataset> {
  if (config.format === 'natural-instructions') return readTasks(source, config.naturalInstructions ?? {}, options);
  const rows = gather();
  const parse = config.format === 'dolly' ? dollyRow : jsonlRow;
  let index = 0;
  for (const file of await filesOf(source, /\.jsonl$/i)) {
    for await (const line of lines(file, options.signal)) {
      const where = `${file}, line ${line.number}`;
      rows.add(parse(parseRow(line.text, where), String(index++), where, config.columns), where);
    }
  }
  return rows.done(source);
}

const lines = (file: string, signal?: AbortSignal) => linesOf(createReadStream(file, { signal }), file);

/** The file itself, or the matching files of a folder in order of name. */
async function filesOf(source: string, pattern: RegExp): Promise<string[]> {
  const found = await stat(source).catch(() => undefined);
  if (found === undefined) throw new UserError(`${source}: no such file or folder`);
  if (!found.isDirectory()) return [source];
  const names = (await readdir(source)).filter((name) => pattern.test(name)).sort();
  if (names.length > 0) return names.map((name) => join(source, name));
  throw new UserError(`${source}: no file in this folder matches ${pattern.source}`);
}

/** Task files with the split that their folder stands for, if any. */
async function taskFiles(source: string): Promise<{ file: string; split?: string }[]> {
  const pattern = /^task.*\.jsonl?$/i;
  const isFolder = async (path: string): Promise<boolean> =>
    (await stat(path).catch(() => undefined))?.isDirectory() === true;
  if (await isFolder(join(source, 'tasks'))) return taskFiles(join(source, 'tasks'));
  const found: { file: string; split?: string }[] = [];
  for (const split of ['train', 'test']) {
    if (!(await isFolder(join(source, split)))) continue;
    for (const file of await filesOf(join(source, split), pattern)) found.push({ file, split });
  }
  return found.length > 0 ? found : (await filesOf(source, pattern)).map((file) => ({ file }));
}

/** `task363_sst2_polarity_classification` and, for short, `task363`. */
const isNamed = (name: string, wanted: string): boolean => name === wanted || name.startsWith(`${wanted}_`);

async function readTasks(
  source: string,
  config: NonNullable<DataConfig['naturalInstructions']>,
  options: ReadOptions,
): Promise<Dataset> {
  const rows = gather();
  const left = new Map<string, number>();
  let rowsLeft = 0;
  const shown: Shown = { definition: config.definition ?? true, examples: config.positiveExamples ?? 0 };
  const files = (await taskFiles(source)).map((entry) => ({
    ...entry,
    name: basename(entry.file).replace(/\.jsonl?$/i, ''),
  }));
  const wanted = config.tasks;
  const absent = wanted?.filter((task) => !files.some(({ name }) => isNamed(name, task))) ?? [];
  if (absent.length > 0) throw new UserError(`${source}: no file of task ${absent.join(', ')}`);
  for (const { file, split, name } of files) {
    options.signal?.throwIfAborted();
    if (wanted && !wanted.some((task) => isNamed(name, task))) continue;
    const splits = config.splits === undefined ? undefined : await splitsOf(config.splits, name);
    const splitFor = (id: string): string | undefined => splits?.get(id) ?? split;
    let read: TaskRow[] = /\.jsonl$/i.test(file)
      ? await hubRows(file, split, shown, options.signal)
      : await officialRows(file, name, shown, splitFor);
    const all = read.length;
    if (config.split !== undefined) read = read.filter((row) => row.split === config.split);
    count(left, `not in split ${config.split}`, all - read.length);
    if (config.perTask !== undefined && read.length > config.perTask) {
      count(left, 'over the limit per task', read.length - config.perTask);
      const order = [...read.keys()];
      const kept = stream(options.seed ?? 0, 'data', 'per-task', name)
        .sample(order, config.perTask)
        .sort((a, b) => a - b);
      read = kept.map((i) => read[i]!);
    }
    rowsLeft += all - read.length;
    for (const row of read) rows.add(row.parsed, row.where);
  }
  const set = rows.done(config.split === undefined ? source : `${source} (split ${config.split})`);
  for (const [reason, n] of set.dropped) count(left, reason, n);
  return { ...set, rows: set.rows + rowsLeft, dropped: left };
}

interface TaskRow {
  readonly parsed: ReturnType<typeof instanceExample>;
  readonly split: string | undefined;
  readonly where: string;
}

async function officialRows(
  file: string,
  name: string,
  shown: Shown,
  splitFor: (id: string) => string | undefined,
): Promise<TaskRow[]> {
  const task = parseTask(await readJson(file), name, file);
  return task.instances.map((instance, i) => {
    const where = `${file}, Instances[${i}]`;
    const id = instanceId(instance) ?? `${name}-${i}`;
    const split = splitFor(id);
    return { parsed: instanceExample(instance, task, shown, id, where, split), split, where };
  });
}

async function hubRows(
  file: string,
  split: string | undefined,
  shown: Shown,
  signal?: AbortSignal,
): Promise<TaskRow[]> {
  const rows: TaskRow[] = [];
  if (shown.examples > 0)
    throw new UserError(
      `${file}: this form of the data has no positive examples; set data.naturalInstructions.positiveExamples to 0`,
    );
  const seen = new Map<string, number>();
  for await (const line of lines(file, signal)) {
    const where = `${file}, line ${line.number}`;
    const row = parseRow(line.text, where);
    // One row per acceptable output there, under the same id.
    const id = instanceId(row) ?? `${basename(file)}-${line.number}`;
    const times = (seen.get(id) ?? 0) + 1;
    seen.set(id, times);
    const unique = times === 1 ? id : `${id}#${times}`;
    rows.push({ parsed: hubRow(row, unique, where, shown.definition, split), split, where });
  }
  return rows;
}

/** Instance id → split, of `<folder>/<task>.json` = {split: [ids]}; empty where a task has no such file. */
async function splitsOf(folder: string, task: string): Promise<ReadonlyMap<string, string>> {
  const file = join(folder, `${task}.json`);
  const found = new Map<string, string>();
  if ((await stat(folder).catch(() => undefined)) === undefined)
    throw new UserError(`${folder}: no such folder of splits`);
  if ((await stat(file).catch(() => undefined)) === undefined) return found;
  const splits = await readJson(file);
  if (!isRow(splits)) throw new UserError(`${file}: expected {split: [instance ids]}, found ${kindOf(splits)}`);
  for (const split of Object.keys(splits)) {
    const ids = field(splits, split);
    if (!Array.isArray(ids))
      throw new UserError(`${file}: "${split}" must be a list of instance ids, found ${kindOf(ids)}`);
    for (const id of ids as unknown[]) if (typeof id === 'string') found.set(id, split);
  }
  return found;
}

/** A JSON file as parsed; throws UserError for a missing file, bytes that are not UTF-8 and malformed JSON. */
export async function readJson(file: string): Promise<unknown> {
  const bytes = await readFile(file).catch((error: unknown) => {
    throw new UserError(`${file}: cannot be read (${(error as Error).message})`, { cause: error });
  });
  return parseJson(decoded(new TextDecoder('utf-8', { fatal: true }), bytes, file), file);
}
