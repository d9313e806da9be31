import { UserError } from '../errors.ts';
import { field, instructionExample, isRow, kindOf, requiredText, textOf, type Parsed, type Row } from './rows.ts';

/** A task file's head: what all its instances share. */
export interface Task {
  readonly name: string;
  readonly category: string;
  readonly definition: string;
  readonly examples: readonly { readonly input: string; readonly output: string }[];
  readonly instances: readonly unknown[];
}

/** A list of texts, or one text: both forms are in use. */
function texts(value: unknown, name: string, where: string): string[] {
  const list = Array.isArray(value) ? value : [value];
  return list.map((item) => {
    const text = textOf(item, name, where);
    if (text === undefined) throw new UserError(`${where}: "${name}" must be a text or a list of texts`);
    return text;
  });
}

/** A task file of Natural Instructions v2 (Definition, Categories, Positive Examples, Instances) as parsed from JSON. */
export function parseTask(value: unknown, name: string, where: string): Task {
  if (!isRow(value)) throw new UserError(`${where}: expected a task object, found ${kindOf(value)}`);
  const instances = field(value, 'Instances');
  if (!Array.isArray(instances))
    throw new UserError(`${where}: "Instances" must be a list, found ${kindOf(instances)}; is this a task file?`);
  const positive = field(value, 'Positive Examples') ?? [];
  if (!Array.isArray(positive))
    throw new UserError(`${where}: "Positive Examples" must be a list, found ${kindOf(positive)}`);
  return {
    name,
    category: texts(field(value, 'Categories') ?? '', 'Categories', where)[0] ?? '',
    definition: texts(field(value, 'Definition') ?? '', 'Definition', where).join('\n'),
    examples: positive.map((item, i) => {
      const at = `${where}, Positive Examples[${i}]`;
      if (!isRow(item)) throw new UserError(`${at}: expected {input, output}, found ${kindOf(item)}`);
      return {
        input: requiredText(item, 'input', at),
        output: texts(field(item, 'output'), 'output', at)[0] ?? '',
      };
    }),
    instances,
  };
}

export interface Shown {
  /** Put the definition before the input. */
  readonly definition: boolean;
  /** Positive examples between the two. */
  readonly examples: number;
}

/** What stands before an instance's input: the definition, then the examples in Tk-Instruct's wording. */
export function instructionOf(task: Pick<Task, 'definition' | 'examples'>, shown: Shown): string {
  const parts = shown.definition && task.definition.trim() !== '' ? [task.definition.trim()] : [];
  task.examples.slice(0, shown.examples).forEach(({ input, output }, i) => {
    parts.push(`Positive Example ${i + 1} -\nInput: ${input.trim()}\nOutput: ${output.trim()}`);
  });
  if (showsExamples(task, shown)) parts.push('Now complete the following example -');
  return parts.join('\n\n');
}

const showsExamples = (task: Pick<Task, 'examples'>, shown: Shown): boolean =>
  shown.examples > 0 && task.examples.length > 0;

/** An instance's id, where it has one. */
export const instanceId = (value: unknown): string | undefined => {
  const id = isRow(value) ? field(value, 'id') : undefined;
  return typeof id === 'string' ? id : undefined;
};

/** An instance {id, input, output: text or list} of a task; all outputs are references, the first is learned. */
export function instanceExample(
  value: unknown,
  task: Task,
  shown: Shown,
  id: string,
  where: string,
  split?: string,
): Parsed {
  if (!isRow(value)) throw new UserError(`${where}: expected {id, input, output}, found ${kindOf(value)}`);
  const input = requiredText(value, 'input', where);
  const output = field(value, 'output');
  if (output === undefined) requiredText(value, 'output', where);
  const outputs = (Array.isArray(output) ? output : [output]).map((item) => textOf(item, 'output', where) ?? '');
  const asked = showsExamples(task, shown) ? `Input: ${input.trim()}\nOutput:` : input;
  return instructionExample(id, instructionOf(task, shown), asked, outputs, {
    task: task.name,
    ...(task.category !== '' && { category: task.category }),
    ...(split !== undefined && { split }),
  });
}

/** The Hub's JSONL form of the same data: {task_name, id, definition, inputs, targets} (Muennighoff/natural-instructions). */
export function hubRow(row: Row, id: string, where: string, definition: boolean, split?: string): Parsed {
  const hint = '; expected task_name, definition, inputs and targets';
  const name = requiredText(row, 'task_name', where, hint);
  const targets = field(row, 'targets') === null ? '' : requiredText(row, 'targets', where, hint);
  return instructionExample(
    id,
    definition ? requiredText(row, 'definition', where, hint).trim() : '',
    requiredText(row, 'inputs', where, hint),
    [targets],
    { task: name, ...(split !== undefined && { split }) },
  );
}
