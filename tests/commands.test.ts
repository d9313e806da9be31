import { cpSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { readTensors } from '../src/formats/files/safetensors.ts';
import type { Tensors } from '../src/tensor/tensor.ts';
import type { ModelScores, Summary } from '../src/report/summary.ts';
import { fedlora } from './support/cli.ts';
import { contents, embeddedModel, embeddedTasks, smallConfig, workspace, writeConfig } from './support/workspace.ts';

const folder = workspace();
const config = folder.at('c.yaml');
const out = folder.at('out');
const global = `${out}/adapters/fedlora-optimizer/global`;
let printed = '';
let told = '';

beforeAll(async () => {
  const methods = [{ use: 'fedlora-optimizer', global: { rounds: 1, rows: 2 }, local: { steps: 1 } }];
  writeConfig(config, { ...smallConfig, methods });
  const ended = await fedlora(['run', config, '--out', out]);
  expect(ended.code, ended.stderr).toBe(0);
  printed = ended.stdout;
  told = ended.stderr;
});
afterAll(() => folder[Symbol.dispose]());

const summary = (): Summary => JSON.parse(readFileSync(`${out}/summary.json`, 'utf8')) as Summary;

describe('run', () => {
  test('tells before training what is trained, with one row and what of it is learnt', () => {
    expect(told).toMatch(/LoRA on 8 projections: 3.584 trainable \(0\.351 %\)/);
    expect(told).toMatch(/^ {2}⟦.+<\|end\|>⟧$/m);
  });

  test('tells every round in a log, and ends with the table and where the report lies', () => {
    expect(told).toMatch(
      /fedlora-optimizer · federated 2\/2: 3 clients, training loss \d+\.\d{3}, validation loss \d+\.\d{3}, \S+ tok\/s · .+ left/,
    );
    // oxlint-disable-next-line no-control-regex -- none may be there
    expect(told + printed).not.toMatch(/\u001b/);
    expect(printed).toMatch(/base model +\d+\.\d{3}/);
    expect(printed.trimEnd().split('\n').at(-1)).toBe(`report: ${out}/report.html`);
    expect(readFileSync(`${out}/report.html`, 'utf8')).toContain('fedlora-optimizer');
  });

  test('--seed and --set change the run, and the default folder is named after the configuration', async () => {
    const args = ['run', config, '--seed', '9', '--set', 'rounds.count=1', '--set', 'methods=[{use: fedit}]'];
    const ended = await fedlora(args, { cwd: folder.path });
    expect(ended.code, ended.stderr).toBe(0);
    const other = JSON.parse(readFileSync(folder.at('runs/c/summary.json'), 'utf8')) as Summary;
    expect(other).toMatchObject({ seed: 9, methods: [{ label: 'fedit', stages: [{ rounds: [{ round: 0 }] }] }] });
  });
});

describe('eval', () => {
  test('gives the base and the global adapter the scores that the run gave them', async () => {
    const ended = await fedlora(['eval', config, '--adapter', global, '--json']);
    expect(ended.code, ended.stderr).toBe(0);
    const [base, adapter] = JSON.parse(ended.stdout) as { name: string; scores: ModelScores }[];
    expect(base).toEqual({ name: 'base model', scores: summary().base });
    expect(adapter).toEqual({ name: global, scores: summary().methods[0]!.global });
  });

  test('prints a line a client', async () => {
    const { stdout } = await fedlora(['eval', config, '--set', 'clients.count=2']);
    expect(stdout).toMatch(/^aurora +\d+\.\d{3} · \d+\.\d %$/m);
    expect(stdout).toMatch(/^pooled +\d+\.\d{3} · \d+\.\d %$/m);
  });
});

describe('generate', () => {
  const ask = 'Please label: The porridge was filthy.';
  const generate = (args: string[], input?: string) =>
    fedlora(['generate', ...args, '--max-new-tokens', '6'], input === undefined ? {} : { input });

  test('answers from arguments and from the input alike, greedily the same each time', async () => {
    const fromArguments = await generate(['--run', out, ask, 'Another.']);
    expect(fromArguments.code, fromArguments.stderr).toBe(0);
    expect(await generate(['--run', out], `${ask}\n\nAnother.\n`)).toEqual(fromArguments);
    expect(fromArguments.stdout.split('\n')).toHaveLength(3);
  });

  test('a run names its model, template and adapters', async () => {
    const plain = ['--model', embeddedModel, '--template', 'plain'];
    expect(await generate(['--run', out, '--base', ask])).toEqual(await generate([...plain, ask]));
    expect(await generate(['--run', out, ask])).toEqual(await generate([...plain, '--adapter', global, ask]));
    const client = `${out}/adapters/fedlora-optimizer/clients/birch`;
    expect(await generate(['--run', out, '--client', 'birch', ask])).toEqual(
      await generate([...plain, '--adapter', client, ask]),
    );
  });

  test('samples by seed', async () => {
    const sample = async (seed: string): Promise<string> =>
      (await generate(['--run', out, '--temperature', '2', '--seed', seed, ask, ask])).stdout;
    expect(await sample('1')).toBe(await sample('1'));
    expect(await sample('1')).not.toBe(await sample('2'));
  });

  test.each([
    [['x'], /give --model FOLDER/],
    [['--run', out, '--client', 'brich', 'x'], /--client: the run has no `brich`; did you mean `birch`\?/],
    [['--run', out, '--method', 'fedit', 'x'], /--method: the run has no `fedit`/],
    [['--run', out, '--model', 'm', 'x'], /leave out --model/],
    [
      ['--model', embeddedModel, '--template', 'plane', 'x'],
      /--template: expected one of chat, alpaca, plain, got plane/,
    ],
    [['--model', embeddedModel, '--temperature', '-1', 'x'], /--temperature: expected a number of at least 0, got -1/],
    [['--model', embeddedModel, '--top-p', '2', 'x'], /--top-p: expected a number above 0 and at most 1, got 2/],
  ])('%j is refused', async (args, message) => {
    const ended = await generate(args);
    expect(ended.stderr).toMatch(message);
    expect(ended).toMatchObject({ code: 2, stdout: '' });
  });
});

describe('inspect', () => {
  test('a model', async () => {
    const { stdout, code } = await fedlora(['inspect', embeddedModel]);
    expect(code).toBe(0);
    expect(stdout).toMatch(/parameters {2}1.016.960; 2\.0 MB of F16 in 1 file/);
    expect(stdout).toContain('gate_proj  128 → 448');
  });

  test('an adapter, alone and with its base model', async () => {
    const { stdout } = await fedlora(['inspect', global, '--model', embeddedModel]);
    expect(stdout).toContain('rank     2, alpha 4');
    expect(stdout).toMatch(/numbers {2}3.584 in 16 tensors on q_proj, v_proj/);
    expect(stdout).toMatch(/model\.layers\.0\.self_attn\.q_proj +\d\.\d{4} +\d\.\d{4}/);
  });

  test('data, as text and as tokens', async () => {
    const { stdout } = await fedlora(['inspect', embeddedTasks, '--model', embeddedModel, '--template', 'plain']);
    const rows = readFileSync(embeddedTasks, 'utf8').trimEnd().split('\n');
    expect(stdout.replace(/(\d)\u202f(\d)/g, '$1$2')).toMatch(new RegExp(`^rows     ${rows.length}$`, 'm'));
    const aurora = rows.filter((row) => row.includes('"client":"aurora"')).length;
    expect(stdout).toContain(`column   client: aurora (${aurora})`);
    expect(stdout).toMatch(/^ {2}⟦.+<\|end\|>⟧$/m);
  });

  test('nothing', async () => {
    expect(await fedlora(['inspect', folder.at('nothing')])).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('there is no such file or folder') as string,
    });
  });
});

describe('personalize', () => {
  const mine = (): string => {
    const rows = readFileSync(embeddedTasks, 'utf8')
      .split('\n')
      .filter((row) => row.includes('"client":"dune"'));
    writeFileSync(folder.at('mine.jsonl'), `${rows.slice(0, 24).join('\n')}\n`);
    return folder.at('mine.jsonl');
  };
  const personal = folder.at('personal');
  const args = (): string[] => [
    'personalize',
    '--adapter',
    global,
    '--data',
    mine(),
    '--config',
    `${out}/config.yaml`,
    '--out',
    personal,
  ];

  // A magnitude may pass zero: then the column points the other way along the same line.
  test('moves the magnitudes of B alone, and says what it was worth', async () => {
    const ended = await fedlora(args());
    expect(ended.code, ended.stderr).toBe(0);
    const adapter = ended.stdout.match(/^your adapter: (.+)$/m)![1]!;
    const [before, after] = await Promise.all(
      [global, adapter].map((path) => readTensors(`${path}/adapter_model.safetensors`)),
    );
    for (const [name, { data }] of before!) {
      if (name.includes('lora_A')) expect(after!.get(name)!.data, name).toEqual(data);
    }
    const key = 'base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight';
    for (const column of [0, 1]) expect(Math.abs(cosine(before!, after!, key, column))).toBeCloseTo(1, 6);
    expect(after!.get(key)!.data).not.toEqual(before!.get(key)!.data);
    const { methods } = JSON.parse(readFileSync(`${personal}/summary.json`, 'utf8')) as Summary;
    expect(methods[0]!.stages[0]).toMatchObject({ name: 'local', trained: 8 * 2 });
  });

  test('is a run like others: again the same answer, resumable, refused for another adapter', async () => {
    const before = contents(`${personal}/adapters`);
    expect(await fedlora([...args(), '--resume'])).toMatchObject({ code: 0 });
    expect(contents(`${personal}/adapters`)).toEqual(before);
    const other = args();
    other[other.indexOf(global)] = `${out}/adapters/fedlora-optimizer/clients/birch`;
    expect((await fedlora(other)).stderr).toMatch(/belongs to another run: its start differs/);
  });

  test('finds the base model by the adapter, or asks for it', async () => {
    const lost = folder.at('lost');
    cpSync(global, lost, { recursive: true });
    const text = readFileSync(`${lost}/adapter_config.json`, 'utf8').replace(embeddedModel, '/no/such/model');
    writeFileSync(`${lost}/adapter_config.json`, text);
    const ended = await fedlora(['personalize', '--adapter', lost, '--data', mine(), '--out', folder.at('p2')]);
    expect(ended).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('names no base model that is here: give --model FOLDER') as string,
    });
    expect(existsSync(folder.at('p2'))).toBe(false);
  });
});

/** Cosine between a column of the same tensor in two adapters. */
function cosine(a: Tensors, b: Tensors, name: string, column: number): number {
  const [x, y] = [a, b].map((tensors) => {
    const { shape, data } = tensors.get(name)!;
    return Array.from({ length: shape[0]! }, (_, row) => data[row * shape[1]! + column]!);
  }) as [number[], number[]];
  const dot = (p: number[], q: number[]): number => p.reduce((sum, value, i) => sum + value * q[i]!, 0);
  return dot(x, y) / Math.sqrt(dot(x, x) * dot(y, y));
}

describe('methods and usage', () => {
  test('methods are listed, and the options of one told', async () => {
    const { stdout } = await fedlora(['methods']);
    for (const name of ['fedlora-optimizer', 'fedit', 'local-only'])
      expect(stdout).toMatch(new RegExp(`^${name} `, 'm'));
    expect((await fedlora(['methods', 'fedlora-optimizer'])).stdout).toMatch(
      /^ {2}axis: one of column, rank, row \["column"\]$/m,
    );
    expect((await fedlora(['methods', 'hetlora'])).stdout).toMatch(
      /^ {2}ranks: a section of names, each with a whole number/m,
    );
  });

  test.each([
    [['rum', config], /unknown command 'rum'[\s\S]*with --help it says what there is/],
    [['run'], /missing required argument 'config\.yaml'/],
    [['run', config, '--sed', '1'], /unknown option '--sed'/],
    [['run', folder.at('none.yaml')], /none\.yaml: there is no such file/],
    [['run', folder.path], /: is a folder, not a file/],
    [['run', '/dev/zero'], /\/dev\/zero: is a device, not a file/],
    [['methods', 'fedti'], /there is no method `fedti`; did you mean `fedit`\?/],
  ])('%j is a mistake', async (args, message) => {
    const ended = await fedlora(args);
    expect(ended.stderr).toMatch(message);
    expect(ended).toMatchObject({ code: 2, stdout: '' });
  });

  test('--version and --help are no mistakes; --verbose shows where an error happened', async () => {
    expect(await fedlora(['--version'])).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^\d+\.\d+\.\d+\n$/) as string,
    });
    expect((await fedlora(['--help'])).code).toBe(0);
    expect((await fedlora(['--verbose', 'run', folder.at('none.yaml')])).stderr).toMatch(/^ {4}at /m);
  });
});

describe('a base model that has changed in its place since the run', () => {
  test('is refused by generate and eval, whose adapters belong to the former weights', async () => {
    const model = folder.at('moving');
    cpSync(embeddedModel, model, { recursive: true });
    const moving = writeConfig(folder.at('moving.yaml'), {
      ...smallConfig,
      model: { path: model },
      rounds: { count: 1 },
    });
    const run = folder.at('moved');
    expect((await fedlora(['run', moving, '--out', run])).code).toBe(0);
    const adapter = `${run}/adapters/fedit/global`;
    const asked = ['generate', '--run', run, '--max-new-tokens', '2', 'Please label: fine.'];
    expect((await fedlora(asked)).code).toBe(0);
    const weights = `${model}/model.safetensors`;
    const bytes = readFileSync(weights);
    bytes[bytes.length >> 1]! ^= 1;
    writeFileSync(weights, bytes);
    const [generated, evaluated] = [await fedlora(asked), await fedlora(['eval', moving, '--adapter', adapter])];
    for (const { code, stderr } of [generated, evaluated]) {
      expect(code).toBe(2);
      expect(stderr).toContain(`the base model in ${model} is not the one of the run in ${run}`);
    }
    // An adapter on a model of the caller's choice is the caller's business.
    const other = await fedlora(['eval', moving, '--adapter', adapter, '--set', `model.path=${embeddedModel}`]);
    expect(other.code, other.stderr).toBe(0);
  });
});
