import { basename, join } from 'node:path';
import { UserError } from '../errors.ts';
import { stream } from '../tensor/random.ts';
import { exists, filesOf, isFolder, lines, readJson } from './files.ts';
import type { NaturalInstructionsConfig } from './settings.ts';
import { hubRow, instanceExample, instanceId, parseTask, type Shown } from './natural-instructions.ts';
import { field, gather, isRow, kindOf, parseRow, type Dataset, type Parsed } from './rows.ts';

interface TaskFile {
  readonly file: string;
  readonly name: string;
  /** The split that the folder stands for. */
  readonly split?: string;
}

interface TaskRow {
  readonly parsed: Parsed;
  readonly id: string;
  readonly split: string | undefined;
  readonly where: string;
}

/** Natural Instructions in its official form (a JSON file per task), or in the Hub's (JSONL files in train/ and test/). */
export async function readTasks(
  source: string,
  config: NaturalInstructionsConfig,
  seed: number,
  signal?: AbortSignal,
): Promise<Dataset> {
  const shown: Shown = { definition: config.definition ?? true, examples: config.positiveExamples ?? 0 };
  const rows = gather();
  for (const task of wanted(await taskFiles(source), config.tasks, source)) {
    signal?.throwIfAborted();
    const hub = /\.jsonl$/i.test(task.file);
    const read = hub ? await hubRows(task, shown, signal) : await officialRows(task, shown, config.splits);
    for (const row of chosen(read, config, seed, task.name)) rows.add(row.parsed, row.where);
  }
  return rows.done(source);
}

const PATTERN = /^task.*\.jsonl?$/i;

async function taskFiles(source: string): Promise<TaskFile[]> {
  if (await isFolder(join(source, 'tasks'))) return taskFiles(join(source, 'tasks'));
  const found: TaskFile[] = [];
  const add = async (folder: string, split?: string): Promise<void> => {
    for (const file of await filesOf(folder, PATTERN, 'task*.json or task*.jsonl file'))
      found.push({ file, name: basename(file).replace(/\.jsonl?$/i, ''), ...(split !== undefined && { split }) });
  };
  for (const split of ['train', 'test']) if (await isFolder(join(source, split))) await add(join(source, split), split);
  if (found.length === 0) await add(source);
  return found;
}

/** `task363_sst2_polarity_classification` and, for short, `task363`. */
const isNamed = (name: string, task: string): boolean => name === task || name.startsWith(`${task}_`);

function wanted(files: readonly TaskFile[], tasks: readonly string[] | undefined, source: string): readonly TaskFile[] {
  if (tasks === undefined) return files;
  const absent = tasks.filter((task) => !files.some(({ name }) => isNamed(name, task)));
  if (absent.length === 0) return files.filter(({ name }) => tasks.some((task) => isNamed(name, task)));
  throw new UserError(
    `${source}: no file of task ${absent.join(', ')} (${files.length} task files, ${files[0]?.name} the first)`,
  );
}

/** Marks the rows that another split or the limit per task leaves out. */
function chosen(rows: readonly TaskRow[], config: NaturalInstructionsConfig, seed: number, name: string): TaskRow[] {
  const out = (row: TaskRow, drop: string): TaskRow => ({ ...row, parsed: { drop, id: row.id } });
  const { split, perTask } = config;
  const own = rows.map((row) => (split === undefined || row.split === split ? row : out(row, `not in split ${split}`)));
  const usable = [...own.keys()].filter((i) => 'example' in own[i]!.parsed);
  if (perTask === undefined || usable.length <= perTask) return own;
  const kept = new Set(stream(seed, 'data', 'per-task', name).sample(usable, perTask));
  return own.map((row, i) => (kept.has(i) || 'drop' in row.parsed ? row : out(row, 'over the limit per task')));
}

async function officialRows(task: TaskFile, shown: Shown, folder: string | undefined): Promise<TaskRow[]> {
  const { file, name } = task;
  const splits = folder === undefined ? undefined : await splitsOf(folder, name);
  const head = parseTask(await readJson(file), name, file);
  return head.instances.map((instance, i) => {
    const where = `${file}, Instances[${i}]`;
    const id = instanceId(instance) ?? `${name}-${i}`;
    const split = splits?.get(id) ?? task.split;
    return { parsed: instanceExample(instance, head, shown, id, where, split), id, split, where };
  });
}

async function hubRows({ file, split }: TaskFile, shown: Shown, signal?: AbortSignal): Promise<TaskRow[]> {
  if (shown.examples > 0)
    throw new UserError(
      `${file}: this form of the data has no positive examples; set data.naturalInstructions.positiveExamples to 0`,
    );
  const rows: TaskRow[] = [];
  const seen = new Map<string, number>();
  for await (const line of lines(file, signal)) {
    const where = `${file}, line ${line.number}`;
    const row = parseRow(line.text, where);
    // An id may come once per acceptable output.
    const own = instanceId(row) ?? `${basename(file)}-${line.number}`;
    const times = (seen.get(own) ?? 0) + 1;
    seen.set(own, times);
    const id = times === 1 ? own : `${own}#${times}`;
    rows.push({ parsed: hubRow(row, id, where, shown.definition, split), id, split, where });
  }
  return rows;
}

/** Instance id → split, from `<folder>/<task>.json` = {split: [ids]}; empty where a task has no such file. */
async function splitsOf(folder: string, task: string): Promise<ReadonlyMap<string, string>> {
  const file = join(folder, `${task}.json`);
  const found = new Map<string, string>();
  if (!(await isFolder(folder))) throw new UserError(`${folder}: no such folder of splits`);
  if (!(await exists(file))) return found;
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
