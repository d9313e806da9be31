import { existsSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { contents, smallConfig, workspace } from '../../tests/support/workspace.ts';
import { checkConfig } from '../config/check.ts';
import type { RunConfigInput } from '../config/schema.ts';
import { openJournal } from '../federation/journal.ts';
import { rdpEpsilon } from '../guard/accountant/rdp.ts';
import type { LoraLayout } from '../lora/adapter.ts';
import { initAdapter } from '../lora/init.ts';
import { withGuards } from './guards.ts';
import { knownMethods, layOut, type LaidOut } from './methods.ts';
import { run } from './run.ts';
import { readSummary } from './summary-schema.ts';

const layout: LoraLayout = {
  rslora: false,
  modules: [{ name: 'model.layers.0.self_attn.q_proj', inFeatures: 4, outFeatures: 4, rank: 2, alpha: 2, scale: 1 }],
};
const known = knownMethods();
const clip = { use: 'clip', norm: 1 };
const privacy = { use: 'privacy', noise: 1, delta: 1e-5 };
const poisson = { sampling: 'poisson', fraction: 0.5 };
const config = (guards: unknown, more: object = {}) =>
  checkConfig(
    {
      model: { path: 'm' },
      data: { path: 'd', format: 'dolly' },
      methods: [{ use: 'fedit' }],
      rounds: poisson,
      ...(guards !== undefined && { guards }),
      ...more,
    },
    known,
  );
const around = (guards: unknown, more: object = {}, clients = 20): LaidOut[] => {
  const resolved = config(guards, more);
  const people = { clients: Array.from({ length: clients }, (_, k) => `c${k}`), proxy: false, known };
  return withGuards(resolved, layOut(resolved, known, layout), people);
};
const methods = (...names: (string | object)[]): object => ({
  methods: names.map((name) => (typeof name === 'string' ? { use: name } : name)),
});

describe('guards', () => {
  test('are read in their order, and leave a run without them as it was', () => {
    expect(config([{ use: 'top-k', share: 0.1 }, clip, privacy]).guards).toEqual([
      { use: 'top-k', share: 0.1 },
      clip,
      { ...privacy, accountant: 'rdp' },
    ]);
    expect(config(undefined)).not.toHaveProperty('guards');
    const [bare] = layOut(config(undefined), known, layout);
    expect(around(undefined)[0]!.stages.map(({ name }) => name)).toEqual(bare!.stages.map(({ name }) => name));
    expect(around([])[0]).not.toHaveProperty('guards');
  });

  test.each([
    [[{ use: 'clp', norm: 1 }], 'guards[0].use: expected one of int8, top-k, clip, adaptive-clip, privacy, got "clp"'],
    [[{ use: 'clip' }], 'guards[0].norm: missing: a number above 0'],
    [[{ use: 'clip', nrm: 1 }], 'guards[0].nrm: unknown key; did you mean `norm`?'],
    [[{ use: 'top-k', share: 2 }], 'guards[0].share: expected a number above 0 and at most 1, got 2'],
    [{ clip: 1 }, 'guards: expected a list'],
    [[clip, { use: 'int8' }], 'guards[1]: `int8` belongs before `clip`: rounding can make an update longer'],
    [[privacy, clip], 'guards[1]: `clip` belongs before `privacy`: noise is for the sum'],
    [
      [{ use: 'int8' }, { use: 'top-k', share: 0.1 }],
      'guards[1]: a second guard of its kind (int8, top-k): remove one',
    ],
    [[clip, { use: 'adaptive-clip' }], 'guards[1]: a second guard of its kind'],
    [
      [privacy],
      'guards[0]: `privacy` needs `clip` or `adaptive-clip` before it: without a bound no noise covers a client',
    ],
    [[clip, { use: 'privacy', delta: 1e-5 }], 'guards[1].noise: missing: `noise` (the multiplier), or `epsilon`'],
    [[clip, { ...privacy, epsilon: 3 }], 'guards[1].epsilon: give `noise` or `epsilon`, not both'],
    [[clip, { use: 'privacy', noise: 1 }], 'guards[1].delta: missing'],
  ])('%j is refused where it is wrong', (guards, message) => {
    expect(() => config(guards)).toThrow(message);
  });

  test.each([
    [
      { rounds: {} },
      'rounds.sampling: `all` does not go with the guard `privacy`, whose ε counts on every client being',
    ],
    [{ rounds: { sampling: 'fixed', fraction: 0.5 } }, 'rounds.sampling: `fixed` does not go with the guard `privacy`'],
    [
      { rounds: { ...poisson, minimum: 2 } },
      'rounds.minimum: does not go with the guard `privacy`: whether a round is shown',
    ],
    [
      { rounds: { ...poisson, overSampling: 1.3 } },
      'rounds.overSampling: does not go with the guard `privacy`: its accountant',
    ],
    [
      { rounds: { ...poisson, overSampling: 1.3 } },
      'rounds.overSampling: `poisson` draws each client by itself, and no number of them: choose `sampling: fixed`',
    ],
    [
      { rounds: { ...poisson, replaceLate: true } },
      'rounds.replaceLate: does not go with the guard `privacy`: its accountant',
    ],
    [
      { serve: { clients: ['ann'], metrics: 'anyone' } },
      'serve.metrics: `anyone` does not go with the guard `privacy`: metrics tell how many clients take part',
    ],
    [
      { combine: { robust: { rule: 'median' } } },
      'combine.robust: does not go with the guard `privacy`: a robust rule looks at single updates',
    ],
  ])('privacy with %j is refused', (more, message) => {
    expect(() => config([clip, privacy], more)).toThrow(message);
  });

  test.each([
    [{ overSampling: 1.3 }, {}, 'has no effect with `sampling: all`, which draws everybody: choose `fixed`'],
    [{ sampling: 'fixed', overSampling: 1.3 }, {}, 'has no effect where everybody is drawn: set `rounds.fraction`'],
    [{ ...poisson, overSampling: 1.3 }, {}, '`poisson` draws each client by itself, and no number of them'],
    [
      { sampling: 'fixed', fraction: 0.5, overSampling: 1.3 },
      { combine: 'secure' },
      'does not go with `combine: secure`: who is in the sum is agreed on before updates are sent',
    ],
  ])('over-sampling by %j is refused', (rounds, more, message) => {
    expect(() => config(undefined, { rounds, ...more })).toThrow(`rounds.overSampling: ${message}`);
    expect(config(undefined, { rounds: { sampling: 'fixed', fraction: 0.5, overSampling: 1.3 } }).rounds).toMatchObject(
      {
        overSampling: 1.3,
      },
    );
  });

  test('a bound that moves is counted in the sum, which a robust rule takes the place of', () => {
    const combine = { combine: { robust: { rule: 'median' } }, rounds: {} };
    expect(() => config([{ use: 'adaptive-clip' }], combine)).toThrow(
      'guards[0]: `adaptive-clip` counts clipped updates',
    );
    expect(() => config([clip], combine)).not.toThrow();
  });

  test('a round’s divisor is the number of clients expected, and the server’s own rows count as one that is always there', async () => {
    const divisor = async (proxy: boolean, ...names: string[]): Promise<number> => {
      const resolved = config([clip, privacy], methods(...names));
      const clients = Array.from({ length: 7 }, (_, k) => `c${k}`);
      const [stage] = withGuards(resolved, layOut(resolved, known, layout), { clients, proxy, known })[0]!.stages;
      const start = stage!.start({ adapter: initAdapter(layout, 1), clients, before: undefined });
      const { release } = await stage!.guard!(start, 0);
      expect(release!.privacy).toMatchObject({ rate: 0.5, noise: 1 });
      return release!.noised(undefined).weight;
    };
    expect(await divisor(false, 'fedit')).toBe(3.5);
    expect(await divisor(true, 'fedit')).toBe(4.5);
  });

  test.each([
    [
      [clip, privacy],
      'fedlora-optimizer',
      /^methods\[0\] \(fedlora-optimizer\): the server of stage “federated” looks at single updates, and with `privacy` it may see only their sum: set `upload: components`$/,
    ],
    [[clip, privacy], 'flexlora', /may see only their sum: choose a method whose sums suffice \(`fedlora methods`\)$/],
    [
      [clip, privacy],
      'centralised',
      /^methods\[0\] \(centralised\): stage “pooled” trains on all clients’ rows in one place, which no noise protects/,
    ],
    [
      [clip],
      'scaffold',
      /^methods\[0\] \(scaffold\): the clients of stage “federated” keep numbers that have to be what they sent/,
    ],
    [
      [{ use: 'top-k', share: 0.1 }],
      'flora',
      /every round of stage “federated” has factors of a new basis, in which what `top-k` held back/,
    ],
    [[{ use: 'top-k', share: 0.1 }], 'flexlora', /factors of a new basis/],
    [[clip, { ...privacy, noise: 1e-4 }], 'fedit', /noise: expected a multiplier from 0.01 to 1000000, got 0.0001/],
    [
      [{ use: 'adaptive-clip' }, privacy],
      'fedit',
      /with 10 client\(s\) expected in a round the count of unclipped updates gets noise 0.5, and a noise multiplier of 1 needs more than 0.5/,
    ],
  ])('%j around %s is refused', (guards, use, message) => {
    expect(() => around(guards, methods(use))).toThrow(message);
  });

  test('go around every method whose sums suffice; others may be clipped and compressed', () => {
    const refused = [...known.keys()].filter((name) => {
      const own = name === 'fedper' ? { use: name, local: ['lora_B'] } : name;
      try {
        around([{ use: 'int8' }, clip, privacy], methods(own));
        return false;
      } catch {
        return true;
      }
    });
    // Two whose clients go by what they sent, beside all whose server sees single updates.
    const own = (name: string): boolean => name === 'scaffold' || name === 'fedalt';
    const expected = [...known.values()].filter(
      ({ name, capabilities }) => own(name) || capabilities?.secureAggregation !== true,
    );
    expect(refused).toEqual(expected.map(({ name }) => name));
    for (const use of ['flora', 'flexlora', 'fedex-lora', 'hetlora', 'centralised', 'local-only']) {
      expect(() => around([{ use: 'int8' }, clip], methods(use))).not.toThrow();
    }
    const components = { use: 'fedlora-optimizer', upload: 'components' };
    expect(() => around([{ use: 'adaptive-clip', countNoise: 2 }, privacy], methods(components))).not.toThrow();
  });

  test('an ε becomes the noise of each method, by the rounds in which its clients send anything', () => {
    const components = { use: 'fedlora-optimizer', upload: 'components', global: { rounds: 15 } };
    const wanted = { use: 'privacy', epsilon: 3, delta: 1e-5 };
    const laid = around([clip, wanted], methods('fedit', components, 'local-only'));
    const noises = laid.map(({ guards }) => guards!.privacy!.noise);
    for (const [k, steps] of [10, 25].entries()) {
      const { epsilon } = rdpEpsilon([{ noise: noises[k]!, rate: 0.5, steps }], 1e-5);
      expect(epsilon).toBeLessThanOrEqual(3);
      expect(epsilon).toBeGreaterThan(2.98);
    }
    expect(noises[1]!).toBeGreaterThan(noises[0]!);
  });
});

describe('a private run', () => {
  const guarded = {
    ...smallConfig,
    methods: [
      { use: 'fedit' },
      { use: 'fedlora-optimizer', upload: 'components', global: { rounds: 1, rows: 2 }, local: { steps: 1 } },
      { use: 'local-only', steps: 1 },
    ],
    rounds: { count: 2, ...poisson },
    guards: [{ use: 'int8' }, { use: 'clip', norm: 0.05 }, { use: 'privacy', noise: 2, delta: 1e-4 }],
  } as unknown as RunConfigInput;

  test('says what it cost, as the accountant does, and nothing of what its clients did', async () => {
    using folder = workspace();
    const summary = await run(guarded, { out: folder.at('out') });
    const cost = (steps: number): number => rdpEpsilon([{ noise: 2, rate: 0.5, steps }], 1e-4).epsilon;
    expect(summary.methods.map(({ privacy: own }) => own)).toEqual([
      { epsilon: cost(2), delta: 1e-4, accountant: 'rdp' },
      { epsilon: cost(3), delta: 1e-4, accountant: 'rdp' },
      { epsilon: 0, delta: 1e-4, accountant: 'rdp' },
    ]);
    const [fedit, optimizer] = summary.methods;
    expect(fedit!.stages[0]!.rounds.map(({ epsilon }) => epsilon)).toEqual([cost(1), cost(2)]);
    expect(optimizer!.stages.map(({ privacy: own }) => own)).toEqual([
      { noise: 2, rate: 0.5, rounds: 2, bound: 0.05 },
      { noise: 2, rate: 0.5, rounds: 1, bound: 0.05 },
      undefined,
    ]);
    expect(optimizer!.stages[1]!.rounds[0]!.epsilon).toBe(cost(3));
    expect(await readSummary(folder.at('out', 'summary.json'))).toEqual(summary);
    const rounds = summary.methods.flatMap(({ stages }) => stages.flatMap((stage) => stage.rounds));
    expect(rounds.map(({ trainLoss }) => trainLoss)).toEqual(rounds.map(() => null));
    expect(summary.methods.map(({ labelledTokens }) => labelledTokens)).toEqual([0, 0, 0]);

    const lines = readFileSync(folder.at('out', 'metrics.jsonl'), 'utf8')
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as { kind: string; epsilon?: number; trainLoss?: number });
    expect(lines.filter(({ kind }) => kind === 'step')).toEqual([]);
    expect(lines.flatMap(({ epsilon }) => epsilon ?? [])).toEqual([cost(1), cost(2), cost(1), cost(2), cost(3)]);
    const report = readFileSync(folder.at('out', 'report.html'), 'utf8');
    expect(report).toContain('What the clients’ privacy costs');
    expect(report).toContain((Math.ceil(cost(3) * 100) / 100).toFixed(2));

    const identity = (JSON.parse(readFileSync(folder.at('out', 'environment.json'), 'utf8')) as { identity: object })
      .identity;
    const journal = openJournal({ path: folder.at('out', 'journal.sqlite'), identity: { ...identity }, resume: true });
    const at = { method: 'fedit', stage: 'federated', stageIndex: 0 };
    const records = [...journal.clients(at, 0), ...journal.clients(at, 1)];
    for (const record of records) expect(record).toMatchObject({ loss: null, tokens: 0, processed: 0 });
    expect(journal.rounds(at).map((record) => record.privacy)).toEqual(
      [1, 2].map((steps) => ({ noise: 2, rate: 0.5, bound: 0.05, delta: 1e-4, epsilon: cost(steps) })),
    );
    // The last round's noised sum, which the global adapter came from.
    expect(journal.released(at, 1)!.combined).toMatchObject({ kind: 'sum', weight: 1.5, clients: 1.5 });
    journal.close();
  });

  test('is another one each time: its noise and its samples are nobody’s to repeat', async () => {
    using folder = workspace();
    const short = { ...guarded, methods: [{ use: 'fedit' }], evaluate: { every: 0 } } as RunConfigInput;
    await run(short, { out: folder.at('one') });
    await run(short, { out: folder.at('other') });
    const adapter = (out: string): Buffer =>
      contents(folder.at(out, 'adapters/fedit/global')).get('adapter_model.safetensors')!;
    expect(adapter('one').equals(adapter('other'))).toBe(false);
    // A method that cannot have its guards is refused before anything is written.
    const bad = { ...short, methods: [{ use: 'flora' }] } as RunConfigInput;
    await expect(run(bad, { out: folder.at('bad') })).rejects.toThrow('may see only their sum');
    expect(existsSync(folder.at('bad'))).toBe(false);
  });
});
