import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import { UserError } from '../errors.ts';
import { checkConfig } from './check.ts';
import { parseConfig } from './parse.ts';

const methods = new Map([
  ['fedit', { options: z.strictObject({ mu: z.number().min(0).default(0.1).describe('Pull.') }) }],
  ['fedlora-optimizer', { options: z.strictObject({ axis: z.enum(['column', 'rank', 'row']).default('column') }) }],
]);

const minimal = `model: { path: m }
data: { path: d.jsonl, format: jsonl }
methods:
  - use: fedit
`;

const parse = (text: string, sets: string[] = []): ReturnType<typeof parseConfig> =>
  parseConfig(text, { file: 'c.yaml', methods, sets, resolve: (path, from) => `/${from}/${path}` });

const messageOf = (act: () => unknown): string => {
  try {
    act();
  } catch (error) {
    expect(error).toBeInstanceOf(UserError);
    return (error as Error).message;
  }
  throw new Error('no error was thrown');
};

test('shares held out that leave no row to train on are a mistake of the configuration, the default counted', () => {
  const split = (text: string): string => `${minimal}clients: { split: { ${text} } }\n`;
  expect(messageOf(() => parse(split('validation: 0.7, test: 0.6')))).toContain(
    'c.yaml:5:12: clients.split: holds out 1.3 of every client',
  );
  expect(messageOf(() => parse(split('validation: 0.8')))).toContain('holds out 1 of');
  for (const right of ['validation: 0.7', 'validation: 100, test: 0.9', 'validation: given, test: 0.99'])
    expect(() => parse(split(right))).not.toThrow();
});

test('a sweep is no configuration, and said to be a sweep', () => {
  expect(messageOf(() => parse('base: x.yaml\nseeds: [1]\narms: [{ use: fedit }]\n'))).toBe(
    'c.yaml: this is a sweep, with `arms` in place of `methods`: fedlora sweep runs it',
  );
});

test('a section that is open says so, and one with keys which', () => {
  const wrong = messageOf(() => parse('model: { path: m }\ndata: { path: d, format: jsonl }\nmethods: {}\n'));
  expect(wrong).toContain('methods: expected a list, each entry a section with the keys use, label, got a section');
});

test('a number that breaks two rules is one mistake', () => {
  const message = messageOf(() => parse(`${minimal}seed: 99999999999999999999\n`));
  expect(message).toMatch(/^a mistake in the configuration:\n {2}c\.yaml:5:7: seed: expected a whole number/);
  expect(message.match(/seed: expected/g)).toHaveLength(1);
});

describe('a right configuration', () => {
  test('fills in defaults, labels and options, and makes paths absolute', () => {
    const config = parse(minimal);
    expect(config.model).toEqual({ path: '/file/m' });
    expect(config.data).toEqual({ path: '/file/d.jsonl', format: 'jsonl', template: 'chat', maxLength: 512 });
    expect(config.methods).toEqual([{ use: 'fedit', label: 'fedit', mu: 0.1 }]);
    expect(config.lora).toEqual({ rank: 8, alpha: 16, rslora: false, targets: ['q_proj', 'v_proj'] });
    // What a run is known by when it goes on: a key that came later is not in it.
    expect(config.train).toEqual({
      batchSize: 8,
      accumulate: 1,
      rate: 3e-4,
      schedule: 'constant',
      warmup: 0,
      weightDecay: 0,
      clip: 1,
    });
    expect(config.seed).toBe(1);
  });

  test('is a fixed point: what was resolved resolves to itself', () => {
    const config = parse(minimal);
    expect(checkConfig(config, methods)).toEqual(config);
  });

  test('--set overrides with YAML values, indexes lists, makes sections, and resolves paths from the working folder', () => {
    const config = parse(minimal, [
      'lora.rank=4',
      'methods.0.mu=0',
      'methods.1.use=fedlora-optimizer',
      'data.path=x/y',
      'lora.targets=[k_proj]',
    ]);
    expect(config.lora.rank).toBe(4);
    expect(config.lora.targets).toEqual(['k_proj']);
    expect(config.methods.map(({ label }) => label)).toEqual(['fedit', 'fedlora-optimizer']);
    expect(config.methods[0]).toMatchObject({ mu: 0 });
    expect(config.data.path).toBe('/set/x/y');
  });

  test('--set of one alternative takes the place of the other, so that a Hub id gives way to a local folder', () => {
    const text = minimal.replace('path: m', 'hub: a/b, revision: v1') + 'train: { epochs: 2 }\n';
    const config = parse(text, ['model.path=m', 'train.steps=3']);
    expect(config.model).toEqual({ path: '/set/m' });
    expect([config.train.steps, config.train.epochs]).toEqual([3, undefined]);
  });

  test('merge keys and anchors are understood', () => {
    const config = parse(
      `${minimal}  - &a { use: fedlora-optimizer, axis: row, label: one }\n  - { <<: *a, label: two }\n`,
    );
    expect(config.methods.map((method) => [method.label, method['axis']])).toEqual([
      ['fedit', undefined],
      ['one', 'row'],
      ['two', 'row'],
    ]);
  });
});

describe('mistakes', () => {
  test('an alias of nothing, of itself or of far too much is one', () => {
    const told = (lora: string): string => messageOf(() => parse(`${minimal}lora: ${lora}\n`));
    expect(told('*rank')).toContain('this is no usable YAML: an alias without an anchor before it: *rank');
    expect(told('&a { rank: *a }')).toContain('what an anchor (&name) marks contains its own alias');
    const nine = (of: string): string => `[${Array.from({ length: 9 }, () => of).join(', ')}]`;
    const levels = 'bcdefg'.split('').map((name, i) => `&${name} ${nine(i === 0 ? '1' : `*${'bcdefg'[i - 1]!}`)}`);
    expect(told(`[${levels.join(', ')}]`)).toContain('its aliases (*name) stand for far too much');
    // A sweep has one line for all its arms.
    const often = `{ use: fedit, label: &l x }${Array.from({ length: 300 }, () => ', *l').join('')}`;
    expect(messageOf(() => parse(`${minimal}lora: [${often}]\n`))).toContain('lora: expected');
  });

  test('all are told at once, each with its place and what would be right', () => {
    const text = `model: { path: m, hub: a/b }
data: { path: d, format: parquet }
lora: { rnak: 4, alpha: 0 }
methods:
  - use: fedti
  - { use: fedit, mu: -1, aixs: 1 }
rounds:
  fraction: 2
  count: 1.5
sede: 3
train: { steps: 1, epochs: 1 }
`;
    expect(
      messageOf(() => parse(text))
        .split('\n')
        .filter((line) => line.startsWith('  c.yaml')),
    ).toEqual([
      '  c.yaml:1:19: model.hub: give `path` or `hub`, not both',
      '  c.yaml:2:26: data.format: expected one of dolly, natural-instructions, jsonl, got "parquet"',
      '  c.yaml:3:9: lora.rnak: unknown key; did you mean `rank`?',
      '  c.yaml:3:25: lora.alpha: expected a number above 0, got 0',
      '  c.yaml:5:10: methods[0].use: unknown method `fedti`; did you mean `fedit`?',
      '  c.yaml:6:23: methods[1].mu: expected a number of at least 0, got -1',
      '  c.yaml:6:27: methods[1].aixs: unknown key; known: mu',
      '  c.yaml:8:13: rounds.fraction: expected a number above 0 and at most 1, got 2',
      '  c.yaml:9:10: rounds.count: expected a whole number of at least 1, got 1.5',
      '  c.yaml:10:1: sede: unknown key; did you mean `seed`?',
      '  c.yaml:11:20: train.epochs: give `steps` or `epochs`, not both',
    ]);
  });

  test('the purpose of the key is told, too', () => {
    const message = messageOf(() => parse(`${minimal}lora: { rank: 0 }\n`));
    expect(message).toBe(
      'a mistake in the configuration:\n  c.yaml:5:15: lora.rank: expected a whole number of at least 1 and at most 4096, got 0\n      Rank r of the factors A (r × in) and B (out × r).',
    );
  });

  test.each([
    [
      'a missing section points to the section around it',
      'model: { path: m }\nmethods: [{ use: fedit }]\n',
      'c.yaml:1:1: data: missing: a section with the keys path, hub',
    ],
    [
      'a near choice is suggested',
      minimal.replace('jsonl }', 'dollly }'),
      'c.yaml:2:32: data.format: expected one of dolly, natural-instructions, jsonl, got "dollly"; did you mean `dolly`?',
    ],
    [
      'an empty value',
      `${minimal}seed:\n`,
      'c.yaml:5:6: seed: expected a whole number of at least 0 and at most 4294967295, got nothing (null)',
    ],
    [
      'a list where a section belongs',
      `${minimal}lora: [1]\n`,
      'c.yaml:5:7: lora: expected a section with the keys rank, alpha, rslora, targets, got a list of 1',
    ],
    [
      'a method twice',
      `${minimal}  - use: fedit\n`,
      'methods[1]: another method is already called `fedit`: give this one a `label` of its own',
    ],
    [
      'a label that is no folder name',
      minimal.replace('use: fedit', 'use: fedit\n    label: ../up'),
      'c.yaml:5:12: methods[0].label: expected text such as `FedIT + local (row)`, got "../up"',
    ],
    [
      'what a partition needs',
      `${minimal}clients: { partition: dirichlet, alpha: 0.5 }\n`,
      'clients.count: missing: `partition: dirichlet` needs the number of clients',
    ],
    [
      'new clients of a federation, whose rows are elsewhere',
      `${minimal}serve: { clients: [ann] }\nclients: { new: 1 }\n`,
      'clients.new: has no effect with `serve`: each client brings its own data',
    ],
    [
      'rows of clients set aside, which are elsewhere',
      `${minimal}serve: { clients: [ann] }\nclients: { proxy: 5 }\n`,
      'clients.proxy: with `serve` no rows of clients can be set aside: give the server’s own in a file',
    ],
    [
      'a fraction that does nothing',
      `${minimal}rounds: { fraction: 0.5 }\n`,
      'rounds.fraction: has no effect with `sampling: all`',
    ],
    [
      'a floor of a rate that does not fall',
      `${minimal}train: { floor: 0.1 }\n`,
      'train.floor: has no effect with `overRounds: constant`: it goes with `overRounds: linear` or `overRounds: cosine` only',
    ],
    [
      'a setting of another partition',
      `${minimal}clients: { partition: iid, count: 3, alpha: 0.5 }\n`,
      'clients.alpha: has no effect with `partition: iid`: it goes with `partition: dirichlet` only',
    ],
    [
      'a setting of another partition than the default',
      `${minimal}clients: { column: topic }\n`,
      'clients.column: has no effect with `partition: category`: it goes with `partition: column` or `partition: dirichlet`',
    ],
    [
      'a share that is neither share nor number',
      `${minimal}clients: { split: { test: 1.5 } }\n`,
      'clients.split.test: expected a share below 1 or a whole number of rows, got 1.5',
    ],
    [
      'a duplicate key',
      `${minimal}seed: 1\nseed: 2\n`,
      'this is not YAML:\n  c.yaml:6:1: found "seed: 2": this key stands in its section already: keep one of the two',
    ],
    ['broken YAML', 'model: [', 'this is not YAML:\n  c.yaml:1:9: '],
    ['an empty file', '', 'c.yaml: expected a configuration with the keys model, data and methods'],
    [
      'a key that is a property of objects',
      `${minimal}__proto__: { seed: 4 }\nconstructor: 1\n`,
      'constructor: unknown key',
    ],
  ])('%s', (_, text, message) => {
    expect(messageOf(() => parse(text))).toContain(message);
  });

  test.each([
    ['lora.rank=0', '--set lora.rank: lora.rank: expected a whole number of at least 1'],
    ['lora.rnak=2', '--set lora.rnak: lora.rnak: unknown key; did you mean `rank`?'],
    ['seed', '--set seed: expected key=value'],
    ['...=2', '--set ...=2: expected key=value'],
    ['methods[0].mu=-1', '--set methods[0].mu: methods[0].mu: expected a number of at least 0'],
    ['methods.7.mu=1', '--set methods.7.mu=1: `methods` is a list of 1: use an index from 0 to 1'],
    ['methods.x=1', '`methods` is a list of 1'],
    ['model.path.deep=1', '--set model.path.deep=1: `model.path` is not a section'],
    ['seed=[', '--set seed=[: the value is not YAML'],
  ])('--set %s', (set, message) => {
    expect(messageOf(() => parse(minimal, [set]))).toContain(message);
  });

  test('a configuration given as a value has key paths without lines', () => {
    expect(
      messageOf(() =>
        checkConfig(
          { model: { path: 'm' }, data: { path: 'd', format: 'jsonl' }, methods: [{ use: 'fedit', mu: 'x' }] },
          methods,
        ),
      ),
    ).toBe('a mistake in the configuration:\n  methods[0].mu: expected a number of at least 0, got "x"\n      Pull.');
  });
});
