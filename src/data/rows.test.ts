import { expect, it } from 'vitest';
import { UserError } from '../errors.ts';
import { dollyRow } from './dolly.ts';
import { jsonlRow } from './jsonl.ts';
import { columnOf, gather, parseJson, parseRow } from './rows.ts';

const where = 'd.jsonl, line 3';

it('reads a Dolly row with and without context', () => {
  const row = {
    instruction: 'Name it.',
    context: 'A cat.',
    response: 'Cat',
    category: 'closed_qa',
    stars: 5,
    tags: ['x'],
  };
  expect(dollyRow(row, '7', where)).toEqual({
    example: {
      id: '7',
      messages: [
        { role: 'user', content: 'Name it.\n\nA cat.' },
        { role: 'assistant', content: 'Cat' },
      ],
      references: ['Cat'],
      columns: { category: 'closed_qa', stars: '5' },
      parts: { instruction: 'Name it.', input: 'A cat.' },
    },
  });
  for (const context of ['', ' \n', null, undefined]) {
    const parsed = dollyRow({ ...row, context }, '7', where);
    expect(parsed).toMatchObject({ example: { messages: [{ content: 'Name it.' }, { content: 'Cat' }] } });
    expect(parsed).not.toHaveProperty('example.parts');
  }
});

it('drops rows without a response and refuses rows without the field', () => {
  const row = { instruction: 'Go.', context: '', category: 'x' };
  for (const response of ['', '  \n', null])
    expect(dollyRow({ ...row, response }, '7', where)).toEqual({ drop: 'empty response', id: '7' });
  expect(() => dollyRow(row, '7', where)).toThrow(
    new UserError(
      'd.jsonl, line 3: no field "response" (fields: instruction, context, category); Dolly rows have instruction, context, response and category',
    ),
  );
  expect(() => dollyRow({ ...row, response: 'y', instruction: null }, '7', where)).toThrow('"instruction" is null');
  expect(() => dollyRow({ ...row, response: ['y'] }, '7', where)).toThrow('"response" must be a text, found a list');
});

it('reads prompt and response under any names, numbers and several references included', () => {
  const columns = { prompt: 'q', response: 'a', input: 'more', id: 'key' };
  const row = { q: 'Sum?', more: '2, 3', a: [5, '', 'five'], key: 'k9', topic: 'maths', prompt: 'a column now' };
  expect(jsonlRow(row, '0', where, columns)).toEqual({
    example: {
      id: 'k9',
      messages: [
        { role: 'user', content: 'Sum?\n\n2, 3' },
        { role: 'assistant', content: '5' },
      ],
      references: ['5', 'five'],
      columns: { topic: 'maths', prompt: 'a column now' },
      parts: { instruction: 'Sum?', input: '2, 3' },
    },
  });
  expect(jsonlRow({ prompt: 'p', response: [] }, '0', where)).toEqual({ drop: 'empty response', id: '0' });
  expect(() => jsonlRow({ instruction: 'p', output: 'r' }, '0', where)).toThrow(
    'no field "prompt" (fields: instruction, output); name the columns under data.columns',
  );
  expect(() => jsonlRow({ prompt: 'p' }, '0', where)).toThrow('no field "response"');
  expect(() => jsonlRow({ prompt: 'p', response: { text: 'r' } }, '0', where)).toThrow(
    'must be a text, found an object',
  );
  expect(() => jsonlRow({ prompt: 'p', response: 'r' }, '0', where, { id: 'uid' })).toThrow('no field "uid"');
});

it('reads conversations', () => {
  const user = { role: 'user', content: 'Hi' };
  const assistant = { role: 'assistant', content: 'Hello' };
  const system = { role: 'system', content: 'Be kind.' };
  const messages = [system, user, assistant, user, { role: 'assistant', content: 'Again hello' }];
  expect(jsonlRow({ messages, lang: 'en' }, '4', where)).toEqual({
    example: { id: '4', messages, references: ['Again hello'], columns: { lang: 'en' } },
  });
  const drop = (list: unknown[]): unknown => jsonlRow({ messages: list }, '4', where);
  expect(drop([user, assistant, user])).toEqual({ drop: 'conversation does not end with a response', id: '4' });
  expect(drop([])).toEqual({ drop: 'conversation does not end with a response', id: '4' });
  expect(drop([assistant, user, assistant])).toEqual({ drop: 'conversation does not begin with a prompt', id: '4' });
  expect(drop([user, { ...assistant, content: ' ' }])).toEqual({ drop: 'empty response', id: '4' });
  expect(() => drop([user, { role: 'tool', content: '' }])).toThrow(
    'd.jsonl, line 3, messages[1]: role must be system, user or assistant, found "tool"',
  );
  expect(() => drop([user, { role: 'assistant', content: [{ type: 'text' }] }])).toThrow(
    'content must be a text, found a list',
  );
  expect(() => drop(['Hi'])).toThrow('messages[0]: expected {role, content}, found a string');
  expect(() => jsonlRow({ messages: 'Hi' }, '4', where)).toThrow('"messages" must be a list');
});

it('keeps a column named __proto__ a column, and inherits none', () => {
  const row = parseRow('{"prompt": "p", "response": "r", "__proto__": "sneaky", "constructor": "odd"}', where);
  const parsed = jsonlRow(row, '0', where);
  if ('drop' in parsed) throw new Error('dropped');
  expect(Object.entries(parsed.example.columns)).toEqual([
    ['__proto__', 'sneaky'],
    ['constructor', 'odd'],
  ]);
  expect(Object.getPrototypeOf(parsed.example.columns)).toBe(Object.prototype);
  expect(columnOf(parsed.example, '__proto__')).toBe('sneaky');
  expect(columnOf(parsed.example, 'toString')).toBeUndefined();
  const hostile = parseRow('{"__proto__": {"prompt": "p", "response": "r"}}', where);
  expect(() => jsonlRow(hostile, '0', where)).toThrow('no field "prompt"');
});

it('says where JSON is broken', () => {
  expect(() => parseRow('{"a": 1', where)).toThrow(/^d\.jsonl, line 3: not valid JSON \(/);
  expect(() => parseRow('[1, 2]', where)).toThrow('d.jsonl, line 3: expected one JSON object per line, found a list');
  expect(() => parseRow('null', where)).toThrow('found null');
  expect(() => parseJson('{\n  "a": 1,\n  "b": x\n}', 'task.json')).toThrow(/^task\.json, line 3: not valid JSON/);
  const long = JSON.stringify({ a: Array.from({ length: 50 }, (_, i) => `row ${i}`) }, null, 1);
  expect(() => parseJson(long.replace('"row 40",', '"row 40"'), 'task.json')).toThrow(
    'task.json, line 44: not valid JSON',
  );
  expect(() => parseJson(long.slice(0, -5), 'task.json')).toThrow('task.json, line 52: not valid JSON');
  expect(() => parseJson(long.replace('"row 7"', 'row 7'), 'task.json')).toThrow('task.json, line 10: not valid JSON');
  expect(() => parseRow('{"a": 1', where)).toThrow(UserError);
});

it('counts what it drops, and refuses a data set of which nothing is left', () => {
  const rows = gather();
  const example = { id: 'a', messages: [], references: [], columns: {} };
  rows.add({ drop: 'empty response', id: 'z' }, 'line 1');
  expect(() => rows.done('d.jsonl')).toThrow('d.jsonl: none of the 1 rows can be used (1 × empty response)');
  rows.add({ example }, 'line 2');
  expect(rows.done('d.jsonl')).toEqual({
    examples: [example],
    indexes: [1],
    rows: 2,
    dropped: new Map([['empty response', 1]]),
    droppedIds: new Set(['z']),
  });
  expect(() => rows.add({ example }, 'line 3')).toThrow('line 3: the id "a" is that of an earlier row');
  expect(() => gather().done('d.jsonl')).toThrow('d.jsonl: no rows');
});
