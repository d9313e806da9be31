import { expect, it } from 'vitest';
import { hubRow, instanceExample, instructionOf, parseTask } from './natural-instructions.ts';

const file = {
  Categories: ['Sentiment Analysis', 'Other'],
  Definition: ['Say good or bad. '],
  'Positive Examples': [
    { input: 'I like it. ', output: 'good', explanation: 'Praise.' },
    { input: 'Awful.', output: ['bad'] },
  ],
  'Negative Examples': [],
  Instances: [{ id: 't-1', input: 'Lovely.', output: ['good', '', 'fine'] }],
};
const task = parseTask(file, 'task9_mood', 'task9_mood.json');
const plain = { definition: true, examples: 0 };

it('reads Categories and Definition as lists or as texts', () => {
  expect(task.category).toBe('Sentiment Analysis');
  expect(task.definition).toBe('Say good or bad. ');
  const asText = parseTask({ ...file, Categories: 'Mood', Definition: 'Judge it.' }, 'task9_mood', 'task9_mood.json');
  expect(asText).toMatchObject({ category: 'Mood', definition: 'Judge it.' });
});

it('puts the definition before the input and keeps all outputs as references', () => {
  expect(instanceExample(file.Instances[0], task, plain, 't-1', 'x', 'train')).toEqual({
    example: {
      id: 't-1',
      messages: [
        { role: 'user', content: 'Say good or bad.\n\nLovely.' },
        { role: 'assistant', content: 'good' },
      ],
      references: ['good', 'fine'],
      columns: { task: 'task9_mood', category: 'Sentiment Analysis', split: 'train' },
      parts: { instruction: 'Say good or bad.', input: 'Lovely.' },
    },
  });
  const bare = instanceExample(file.Instances[0], task, { definition: false, examples: 0 }, 't-1', 'x');
  expect(bare).toMatchObject({ example: { messages: [{ content: 'Lovely.' }, { content: 'good' }] } });
});

it('shows as many positive examples as asked for, and as there are', () => {
  const example = (examples: number): unknown =>
    instanceExample(file.Instances[0], task, { definition: true, examples }, 't-1', 'x');
  expect(instructionOf(task, { definition: true, examples: 1 })).toBe(
    'Say good or bad.\n\nPositive Example 1 -\nInput: I like it.\nOutput: good\n\nNow complete the following example -',
  );
  expect(example(1)).toMatchObject({ example: { parts: { input: 'Input: Lovely.\nOutput:' } } });
  expect(instructionOf(task, { definition: false, examples: 9 })).toContain(
    'Positive Example 2 -\nInput: Awful.\nOutput: bad',
  );
  const none = { ...task, examples: [] };
  expect(instructionOf(none, { definition: true, examples: 3 })).toBe('Say good or bad.');
});

it('drops instances without an output and names what is malformed', () => {
  const read = (value: unknown): unknown => instanceExample(value, task, plain, 't-1', 'f.json, Instances[4]');
  expect(read({ input: 'a', output: ['', ' '] })).toEqual({ drop: 'empty response', id: 't-1' });
  expect(read({ input: 'a', output: 'b' })).toMatchObject({ example: { references: ['b'] } });
  expect(() => read({ input: 'a' })).toThrow('f.json, Instances[4]: no field "output"');
  expect(() => read(['a'])).toThrow('f.json, Instances[4]: expected {id, input, output}, found a list');
  expect(() => parseTask([], 't', 't.json')).toThrow('t.json: expected a task object, found a list');
  expect(() => parseTask({ Definition: 'x' }, 't', 't.json')).toThrow('"Instances" must be a list, found nothing');
  expect(() => parseTask({ ...file, 'Positive Examples': [3] }, 't', 't.json')).toThrow('t.json, Positive Examples[0]');
  expect(() => parseTask({ ...file, Definition: [{}] }, 't', 't.json')).toThrow('"Definition" must be a text');
});

it("reads the Hub's rows", () => {
  const row = { task_name: 'task9_mood', id: 't-1', definition: 'Judge. ', inputs: 'Lovely.', targets: 'good' };
  expect(hubRow(row, 't-1', 'x', true, 'test')).toMatchObject({
    example: {
      messages: [{ content: 'Judge.\n\nLovely.' }, { content: 'good' }],
      columns: { task: 'task9_mood', split: 'test' },
    },
  });
  expect(() => hubRow({ ...row, targets: undefined }, 't-1', 'x', true)).toThrow('expected task_name, definition');
});
