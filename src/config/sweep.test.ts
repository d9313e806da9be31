import { describe, expect, test } from 'vitest';
import { methods } from '../methods/registry.ts';
import { readDocument } from './parse.ts';
import { checkSweep, type Given, type Sweep } from './sweep.ts';

const known = new Map(methods.map((method) => [method.name, method]));

const given = (text: string, file: string): Given => {
  const { document, locate } = readDocument(text, file, 'something else');
  return { value: document.toJS(), locate, resolve: (path) => `/${file}/${path}` };
};

const base = `model: { path: m }
data: { path: 'rows-{seed}.jsonl', format: jsonl }
rounds: { count: 7 }
train: { epochs: 2, rate: 1e-3 }
methods: [{ use: nonsense }]
`;

const read = (text: string, under = base): Sweep =>
  checkSweep(given(text, 'sweep.yaml'), given(under, 'base.yaml'), known);

const mistakes = (text: string, under = base): string[] => {
  try {
    read(text, under);
  } catch (error) {
    return (error as Error).message
      .split('\n')
      .slice(1)
      .filter((line) => !line.startsWith('      '));
  }
  throw new Error('no mistake was found');
};

describe('a sweep', () => {
  test('unfolds grids into arms, each a whole configuration', () => {
    const sweep = read(`
base: base.yaml
seeds: [1, 2]
baseline: fedit
evaluate: { generate: 0, every: 2 }
arms:
  - { use: fedit, run: { train: { steps: 3 }, clients: { partition: iid, count: 2 } } }
  - use: fedlora-optimizer
    label: ours
    lambda: 0.5
    grid: { axis: [row, column], local.rate: { slow: 1e-3, fast: 1e-2 }, run.train.rate: [0.01] }
`);
    expect(sweep.arms.map(({ label }) => label)).toEqual([
      'fedit',
      'ours (axis row) (rate slow) (rate 0.01)',
      'ours (axis row) (rate fast) (rate 0.01)',
      'ours (axis column) (rate slow) (rate 0.01)',
      'ours (axis column) (rate fast) (rate 0.01)',
    ]);
    const fedit = sweep.config(sweep.arms[0]!, 2);
    expect(fedit).toMatchObject({ seed: 2, rounds: { count: 7 }, evaluate: { generate: 0, every: 2, matrix: true } });
    // The base's file says where its paths are; a seed has its own data; steps take the place of the base's epochs.
    expect(fedit.data.path).toBe('/base.yaml/rows-2.jsonl');
    expect(fedit.train).toMatchObject({ steps: 3, rate: 1e-3 });
    expect(fedit.train.epochs).toBeUndefined();
    expect(fedit.clients).toMatchObject({ partition: 'iid', count: 2 });
    expect(fedit.methods).toEqual([{ use: 'fedit', label: 'fedit', weights: 'examples', optimizerState: 'reset' }]);
    const ours = sweep.config(sweep.arms[4]!, 1);
    expect(ours.methods[0]).toMatchObject({
      use: 'fedlora-optimizer',
      axis: 'column',
      lambda: 0.5,
      local: { rate: 1e-2 },
    });
    expect(ours.train).toMatchObject({ epochs: 2, rate: 0.01 });
    expect(ours.clients.partition).toBe('category');
  });

  test('takes the base as part of itself, and away from it what is null', () => {
    const sweep = checkSweep(
      given(
        `base: { model: { path: m }, data: { path: d, format: jsonl }, clients: { partition: column, column: owner } }
seeds: [1]
baseline: a
arms: [{ use: fedit, label: a, run: { clients: { partition: dirichlet, alpha: 1, count: 3, column: null }, data: { path: e } } }]`,
        'sweep.yaml',
      ),
      undefined,
      known,
    );
    const config = sweep.config(sweep.arms[0]!, 1);
    expect(config.clients.column).toBeUndefined();
    expect([config.model.path, config.data.path]).toEqual(['/sweep.yaml/m', '/sweep.yaml/e']);
  });

  test('is refused with the place of each mistake, in the file where it stands', () => {
    expect(
      mistakes(
        `base: base.yaml
seeds: [1, 1]
baseline: FedI
arms:
  - { use: fedit, label: FedIT, roundz: 3 }
  - { use: fedlora-optimizer, axis: diagonal, run: { train: { steps: 0 }, combine: plain } }
  - { use: fedprox, label: fedit, grid: { mu: [0.1, -1], run.rounds.count: [0] } }
  - { use: fedsa-lor, label: fedIT }
`,
        base.replace('count: 7', 'count: seven'),
      ),
    ).toEqual([
      '  base.yaml:3:18: rounds.count: expected a whole number of at least 1, got "seven"',
      '  sweep.yaml:2:8: seeds: seed 1 stands twice; a replicate counts once',
      '  sweep.yaml:3:11: baseline: there is no arm called `FedI`; did you mean `FedIT`?',
      '  sweep.yaml:5:33: arms[0].roundz: unknown key; did you mean `rounds`?',
      '  sweep.yaml:6:37: arms[1].axis: expected one of column, rank, row, got "diagonal"',
      '  sweep.yaml:6:70: arms[1].run.train.steps: expected a whole number of at least 1, got 0',
      '  sweep.yaml:7:53: arms[2].grid.mu[1]: expected a number of at least 0, got -1',
      '  sweep.yaml:7:77: arms[2].grid.run.rounds.count[0]: expected a whole number of at least 1, got 0',
      '  sweep.yaml:8:5: arms[3]: another arm is already called `fedIT`: give this one a `label` of its own',
      '  sweep.yaml:8:12: arms[3].use: unknown method `fedsa-lor`; did you mean `fedsa-lora`?',
    ]);
    expect(mistakes('base: base.yaml\nseeds: [1]\nbaseline: fedit\narm: [{ use: fedit }]\n')).toEqual([
      expect.stringContaining('arms: missing'),
      expect.stringContaining('sweep.yaml:4:1: arm: unknown key; did you mean `arms`?'),
    ]);
    expect(
      mistakes('base: base.yaml\nseeds: [1]\nbaseline: fedit\narms: [{ use: fedit, run: { model: { path: x } } }]\n'),
    ).toEqual([expect.stringContaining('sweep.yaml:4:29: arms[0].run.model: unknown key')]);
  });

  test('gives every arm the same number of tries, unless it says otherwise', () => {
    const text = (tuning: string): string => `base: base.yaml
seeds: [1]
baseline: fedit
${tuning}
arms:
  - { use: fedit, tune: [{ run.train.rate: [1e-3, 3e-3] }, { weights: [examples, uniform] }] }
  - { use: local-only, tune: { rate: [1e-3, 3e-3, 1e-2] } }
`;
    expect(mistakes(text(''))).toEqual([expect.stringContaining('arms[0].tune: needs `tuning: { seeds: […] }`')]);
    expect(mistakes(text('tuning: { seeds: [9] }'))).toEqual([
      expect.stringContaining('arms[1]: `local-only` has 3 tries and `fedit` 4: give every arm the same number'),
    ]);
    const { arms } = read(text('tuning: { seeds: [9], unequal: true }'));
    expect(arms.map(({ tune }) => tune.map((step) => step.map((one) => one.map(({ value }) => value))))).toEqual([
      [
        [[1e-3], [3e-3]],
        [['examples'], ['uniform']],
      ],
      [[[1e-3], [3e-3], [1e-2]]],
    ]);
    expect(mistakes(text('tuning: { seeds: [9], unequal: true }').replace('uniform', 'uniformly'))).toEqual([
      expect.stringContaining('sweep.yaml:6:82: arms[0].tune[1].weights[1]: expected one of'),
    ]);
  });

  test('refuses values that would make arms another experiment, tries that are none, and grids beyond counting', () => {
    const arm = (text: string, under?: string): string[] =>
      mistakes(
        `base: base.yaml\nseeds: [1]\nbaseline: fedit\ntuning: { seeds: [2] }\narms: [{ use: fedit, ${text} }]\n`,
        under,
      );
    const same = (key: string): unknown => expect.stringContaining(`\`${key}\` is the same for all arms`);
    expect(arm('grid: { run.model.path: [a, b] }')).toEqual([same('model')]);
    expect(arm('tune: [{ run.evaluate.batch: [1, 2], run.runtime.threads: [1, 2] }]')).toEqual([
      same('evaluate'),
      same('runtime'),
    ]);
    expect(arm('grid: { run: { a: { train: { steps: 1 } }, b: { seed: 7 } } }')).toEqual([same('seed')]);
    expect(arm('grid: { label: [a, b] }')).toEqual([
      '  sweep.yaml:5:30: arms[0].grid.label: `label` is no option of a method: give one of those, or a key of the run as `run.train.rate`',
    ]);
    expect(arm('tune: { run.train.rate: [1e-3, 2e-3, 0.001] }')).toEqual([
      '  sweep.yaml:5:46: arms[0].tune.run.train.rate: 0.001 stands twice, and counts as one try: remove one',
    ]);
    const ten = `[${Array.from({ length: 10 }, (_, i) => i + 1).join(', ')}]`;
    const keys = Array.from({ length: 30 }, (_, i) => `run.train.k${i}: ${ten}`).join(', ');
    expect(arm(`grid: { ${keys} }`)).toEqual([
      expect.stringContaining('arms[0].grid: more than 1000 combinations of values'),
    ]);
    expect(arm('rounds: 2', base.replace('path: m', 'path: "m-{seed}"'))).toEqual([
      '  base.yaml:1:16: model.path: one model is the base of every run: `{seed}` belongs in paths of data',
    ]);
  });

  test('says which values do not go together where each goes with the first of the others', () => {
    const sweep = read(`base: base.yaml
seeds: [1]
baseline: fedit
tuning: { seeds: [2] }
arms:
  - use: fedit
    tune: [{ run.rounds.sampling: [poisson, all] }, { run.guards: { none: [], private: [{ use: clip, norm: 1 }, { use: privacy, noise: 1, delta: 1e-5 }] } }]
`);
    const [{ tune }] = sweep.arms as [(typeof sweep.arms)[0]];
    expect(() => sweep.config(sweep.arms[0]!, 1, [...tune[0]![1]!, ...tune[1]![1]!])).toThrow(
      /fedit: rounds\.sampling[^]*`all` does not go with the guard `privacy`/,
    );
  });
});
