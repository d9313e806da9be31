import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { needs, shared } from '../../tests/shared.ts';
import { temporaryFolder } from '../../tests/support/temporary.ts';
import { readDataset } from './read.ts';

const folder = temporaryFolder();

function write(name: string, content: unknown): string {
  const path = join(folder, name);
  mkdirSync(join(path, '..'), { recursive: true });
  writeFileSync(path, typeof content === 'string' ? content : JSON.stringify(content, null, 2));
  return path;
}

const line = (value: unknown): string => `${JSON.stringify(value)}\n`;

describe('JSONL', () => {
  it('numbers rows over all files of a folder, in order of name', async () => {
    write('set/b.jsonl', line({ prompt: 'b0', response: 'x' }));
    write('set/a.jsonl', `${line({ prompt: 'a0', response: 'x' })}\n${line({ prompt: 'a1', response: '' })}`);
    write('set/README.md', 'no data');
    const data = await readDataset(join(folder, 'set'), { format: 'jsonl' });
    expect(data.examples.map(({ id, messages }) => [id, messages[0]?.content])).toEqual([
      ['0', 'a0'],
      ['2', 'b0'],
    ]);
    expect(data).toMatchObject({ rows: 3, indexes: [0, 2], dropped: new Map([['empty response', 1]]) });
  });

  it('names file and line of what is malformed', async () => {
    const good = line({ prompt: 'p', response: 'r' });
    const broken = write('broken.jsonl', `${good}\n{"prompt": "p", "response": }\n`);
    await expect(readDataset(broken, { format: 'jsonl' })).rejects.toThrow(`${broken}, line 3: not valid JSON`);
    const twice = write('twice.jsonl', line({ prompt: 'p', response: 'r', k: 1 }).repeat(2));
    await expect(readDataset(twice, { format: 'jsonl', columns: { id: 'k' } })).rejects.toThrow(
      `${twice}, line 2: the id "1" is that of an earlier row`,
    );
    const empty = write('empty.jsonl', '\n\n');
    await expect(readDataset(empty, { format: 'dolly' })).rejects.toThrow(`${empty}: no rows`);
    await expect(readDataset(join(folder, 'none.jsonl'), { format: 'dolly' })).rejects.toThrow(
      'no such file or folder',
    );
    mkdirSync(join(folder, 'void'));
    await expect(readDataset(join(folder, 'void'), { format: 'dolly' })).rejects.toThrow(
      'no .jsonl file in this folder',
    );
    await expect(readDataset(good, { format: 'dolly' })).rejects.toThrow('no such file or folder');
  });

  it('stops when told to', async () => {
    const path = write('long.jsonl', line({ prompt: 'p', response: 'r' }).repeat(1000));
    const reading = readDataset(path, { format: 'jsonl' }, { signal: AbortSignal.abort() });
    await expect(reading).rejects.toThrow(/abort/i);
  });
});

describe('task files', () => {
  const task = (name: string, n: number) => ({
    Categories: [`Category of ${name}`],
    Definition: 'Do it.',
    Instances: Array.from({ length: n }, (_, i) => ({ id: `${name}-${i}`, input: `in ${i}`, output: [`out ${i}`] })),
  });
  write('ni/tasks/task1_a.json', task('a', 10));
  write('ni/tasks/task10_b.json', task('b', 6));
  write('ni/tasks/README.json', '[]');
  write('ni/instance_splits/task1_a.json', { train: ['a-0', 'a-1', 'a-2'], test: ['a-3', 'a-4'] });
  const source = join(folder, 'ni');
  const read = async (naturalInstructions: object, seed = 1) =>
    readDataset(source, { format: 'natural-instructions', naturalInstructions }, { seed });

  it('are found in tasks/, chosen by full or short name', async () => {
    const all = await readDataset(source, { format: 'natural-instructions' });
    expect(all.examples).toHaveLength(16);
    expect(all.examples[0]).toMatchObject({
      id: 'b-0',
      columns: { task: 'task10_b', category: 'Category of b' },
      references: ['out 0'],
    });
    for (const tasks of [['task1'], ['task1_a']]) expect((await read({ tasks })).rows).toBe(10);
    await expect(read({ tasks: ['task1', 'task2'] })).rejects.toThrow(`${source}: no file of task task2 (2 task files`);
    const one = await readDataset(join(source, 'tasks', 'task10_b.json'), { format: 'natural-instructions' });
    expect(one.rows).toBe(6);
  });

  it('give each row its split, and only the split asked for', async () => {
    const splits = join(source, 'instance_splits');
    const all = await read({ splits });
    const of = (split: string | undefined) => all.examples.filter(({ columns }) => columns['split'] === split).length;
    expect([of('train'), of('test'), of(undefined)]).toEqual([3, 2, 11]);
    const test = await read({ splits, split: 'test', tasks: ['task1'] });
    expect(test.examples.map(({ id }) => id)).toEqual(['a-3', 'a-4']);
    expect(test).toMatchObject({ rows: 10, dropped: new Map([['not in split test', 8]]) });
    expect(test.droppedIds.has('a-0')).toBe(true);
    await expect(read({ splits, split: 'dev' })).rejects.toThrow(
      'none of the 16 rows can be used (16 × not in split dev)',
    );
    await expect(read({ splits: join(source, 'nowhere') })).rejects.toThrow('no such folder of splits');
  });

  it('draws instances per task by seed', async () => {
    const ids = async (seed: number) => (await read({ perTask: 4 }, seed)).examples.map(({ id }) => id);
    const drawn = await ids(1);
    expect(drawn.filter((id) => id.startsWith('a'))).toHaveLength(4);
    expect(drawn.filter((id) => id.startsWith('b'))).toHaveLength(4);
    expect(await ids(1)).toEqual(drawn);
    expect(await ids(2)).not.toEqual(drawn);
    expect((await read({ perTask: 4 })).dropped).toEqual(new Map([['over the limit per task', 8]]));
  });

  it("are read in the Hub's JSONL form, with the folder as split and an id per row", async () => {
    const row = { task_name: 'task1_a', id: 'a-0', definition: 'Do it.', inputs: 'in', targets: 'out' };
    write('hub/train/task1_a_train.jsonl', line(row) + line({ ...row, targets: 'other' }));
    write('hub/test/task1_a_test.jsonl', line({ ...row, id: 'a-1' }));
    const data = await readDataset(join(folder, 'hub'), { format: 'natural-instructions' });
    expect(data.examples.map(({ id, columns }) => [id, columns['split'], columns['task']])).toEqual([
      ['a-0', 'train', 'task1_a'],
      ['a-0#2', 'train', 'task1_a'],
      ['a-1', 'test', 'task1_a'],
    ]);
  });
});

const dolly = shared('data/dolly/databricks-dolly-15k.jsonl');
it.skipIf(dolly === undefined)(`reads all of Dolly ${needs('data/dolly')}`, async () => {
  const data = await readDataset(dolly!, { format: 'dolly' });
  expect(data.rows).toBe(15_011);
  expect(data.examples.length + (data.dropped.get('empty response') ?? 0)).toBe(15_011);
  expect(new Set(data.examples.map(({ columns }) => columns['category'])).size).toBe(8);
  expect(data.examples[0]?.messages[0]?.content).toBe('What are some common mushrooms used in cooking?');
});

const tasks = shared('data/natural-instructions');
it.skipIf(tasks === undefined)(`reads every task file ${needs('data/natural-instructions')}`, async () => {
  const splits = join(tasks!, 'instance_splits');
  const data = await readDataset(tasks!, { format: 'natural-instructions', naturalInstructions: { splits } });
  const counts = new Map<string, number>();
  for (const { columns } of data.examples) counts.set(columns['task']!, (counts.get(columns['task']!) ?? 0) + 1);
  const { readFileSync } = await import('node:fs');
  const manifest = JSON.parse(readFileSync(join(tasks!, 'manifest.json'), 'utf8')) as Record<
    string,
    { instances: number; categories: string[] }
  >;
  expect([...counts.keys()].sort()).toEqual(Object.keys(manifest).sort());
  const total = Object.values(manifest).reduce((sum, { instances }) => sum + instances, 0);
  expect(data.rows).toBe(total);
  // Their outputs are blank in the published file.
  expect(Object.fromEntries(data.dropped)).toEqual({ 'empty response': 6 });
  expect(data.examples.every(({ columns }) => manifest[columns['task']!]?.categories[0] === columns['category'])).toBe(
    true,
  );
  const inSplit = data.examples.filter(({ columns }) => columns['split'] !== undefined);
  expect(new Set(inSplit.map(({ columns }) => columns['task'])).size).toBe(12);
});
