import { UserError } from '../errors.ts';
import {
  columnsOf,
  field,
  instructionExample,
  isRow,
  kindOf,
  requiredText,
  textOf,
  type Parsed,
  type Row,
} from './rows.ts';
import type { Message } from './types.ts';

/** Names of a JSONL file's columns. All other scalar columns can be partitioned by. */
export interface JsonlColumns {
  /** Default `prompt`. */
  readonly prompt?: string;
  /** What goes with the prompt, as Alpaca's `input`; may be empty or absent in a row. */
  readonly input?: string;
  /** Default `response`; a text or a list of acceptable ones, of which the first is learned. */
  readonly response?: string;
  /** Default `messages`: used in rows that have it. */
  readonly messages?: string;
  /** Default: the row's number within the data set, from 0. */
  readonly id?: string;
}

/** A row with prompt and response, or with messages [{role, content}]. */
export function jsonlRow(row: Row, index: string, where: string, columns: JsonlColumns = {}): Parsed {
  const names = { prompt: 'prompt', response: 'response', messages: 'messages', ...columns };
  const used = [names.prompt, names.response, names.messages, names.input, names.id];
  const except = new Set(used.filter((name) => name !== undefined));
  const id = names.id === undefined ? index : requiredText(row, names.id, where);
  const others = columnsOf(row, except);
  if (Object.hasOwn(row, names.messages)) return conversation(row, id, where, names.messages, others);
  const hint = '; name the columns under data.columns';
  const prompt = requiredText(row, names.prompt, where, hint);
  const input = names.input === undefined ? '' : (textOf(field(row, names.input), names.input, where) ?? '');
  const response = field(row, names.response);
  if (response === undefined) requiredText(row, names.response, where, hint);
  const references = (Array.isArray(response) ? response : [response]).map(
    (value) => textOf(value, names.response, where) ?? '',
  );
  return instructionExample(id, prompt, input, references, others);
}

function conversation(
  row: Row,
  id: string,
  where: string,
  name: string,
  columns: Readonly<Record<string, string>>,
): Parsed {
  const list = field(row, name);
  if (!Array.isArray(list))
    throw new UserError(`${where}: "${name}" must be a list of {role, content}, found ${kindOf(list)}`);
  const messages = list.map((item, i) => message(item, `${where}, ${name}[${i}]`));
  const last = messages.at(-1);
  if (last?.role !== 'assistant') return { drop: 'conversation does not end with a response', id };
  if (last.content.trim() === '') return { drop: 'empty response', id };
  const turns = messages.filter(({ role }) => role !== 'system');
  if (turns[0]?.role !== 'user') return { drop: 'conversation does not begin with a prompt', id };
  return { example: { id, messages, references: [last.content], columns } };
}

function message(value: unknown, where: string): Message {
  if (!isRow(value)) throw new UserError(`${where}: expected {role, content}, found ${kindOf(value)}`);
  const role = field(value, 'role');
  const content = field(value, 'content');
  if (role !== 'system' && role !== 'user' && role !== 'assistant')
    throw new UserError(`${where}: role must be system, user or assistant, found ${JSON.stringify(role) ?? 'nothing'}`);
  if (typeof content !== 'string') throw new UserError(`${where}: content must be a text, found ${kindOf(content)}`);
  return { role, content };
}
