import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { smallConfig, workspace } from '../../tests/support/workspace.ts';
import { checkConfig } from '../config/check.ts';
import type { RunConfigInput } from '../config/schema.ts';
import { defaultSecureSettings } from '../federation/secure/combiner.ts';
import { leastHonest } from '../federation/secure/parameters.ts';
import { decodeSafetensors } from '../formats/safetensors.ts';
import { rdpEpsilon } from '../guard/accountant/rdp.ts';
import type { LoraLayout } from '../lora/adapter.ts';
import { initAdapter } from '../lora/init.ts';
import { norm, subtract } from '../tensor/tensors.ts';
import type { Tensors } from '../tensor/tensor.ts';
import { withGuards } from './guards.ts';
import { knownMethods, layOut } from './methods.ts';
import { run } from './run.ts';
import { checkSecure, secureOf } from './secure.ts';
import { readSummary } from './summary-schema.ts';

const layout: LoraLayout = {
  rslora: false,
  modules: [{ name: 'model.layers.0.self_attn.q_proj', inFeatures: 4, outFeatures: 4, rank: 2, alpha: 2, scale: 1 }],
};
const known = knownMethods();
const config = (more: object = {}) =>
  checkConfig(
    {
      model: { path: 'm' },
      data: { path: 'd', format: 'dolly' },
      methods: [{ use: 'fedit' }],
      combine: 'secure',
      ...more,
    },
    known,
  );
const check = (methods: readonly object[], clients = 10, more: object = {}, proxy = false): void => {
  const resolved = config({ methods, ...more });
  checkSecure(resolved, layOut(resolved, known, layout), clients, known, proxy);
};

describe('combine: secure', () => {
  test('is read; a fixed clip is what its numbers need room for', () => {
    expect(secureOf(config())).toEqual({ secure: defaultSecureSettings });
    expect(secureOf(config({ guards: [{ use: 'clip', norm: 0.5 }] }))).toEqual({
      secure: { ...defaultSecureSettings, limit: 0.5 },
    });
    expect(secureOf(config({ guards: [{ use: 'adaptive-clip' }] }))).toEqual({ secure: defaultSecureSettings });
    expect(secureOf(config({ combine: 'plain' }))).toEqual({});
  });

  const privacy = { use: 'privacy', noise: 1, delta: 1e-5 };
  test.each([
    [{ guards: [{ use: 'int8' }] }, 'guards[0]: `int8` does not go with `combine: secure`'],
    [{ guards: [{ use: 'top-k', share: 0.1 }] }, 'guards[0]: `top-k` does not go with `combine: secure`'],
    [
      { guards: [{ use: 'clip', norm: 1 }, privacy], rounds: { sampling: 'fixed', fraction: 0.5 } },
      'rounds.fraction: does not go with the guard `privacy` and `combine: secure`, where the server sees who takes part',
    ],
    [
      { guards: [{ use: 'clip', norm: 1 }, privacy], rounds: { sampling: 'poisson', fraction: 0.5 } },
      'combine: `secure` needs a sure number of clients in a round',
    ],
    [
      {
        guards: [
          { use: 'clip', norm: 1 },
          { ...privacy, accountant: 'prv' },
        ],
      },
      'guards[1].accountant: `prv` does not go with `combine: secure`',
    ],
    [
      { guards: [{ use: 'clip', norm: 1 }, privacy], rounds: { minimum: 3 } },
      'rounds.minimum: does not go with the guard `privacy` and `combine: secure`: a sum that was made has been paid for',
    ],
    [{ guards: [privacy] }, 'guards[0]: `privacy` needs `clip` or `adaptive-clip` before it'],
    [{ rounds: { sampling: 'poisson', fraction: 0.5 } }, 'combine: `secure` needs a sure number of clients in a round'],
    [{ combine: 'secured' }, 'combine: expected'],
  ])('%j is refused', (more, message) => expect(() => config(more)).toThrow(message));

  test('goes with every method whose sums suffice, and refuses the others with what would do', () => {
    for (const { name, capabilities } of known.values()) {
      const own = name === 'fedper' ? { use: name, local: ['lora_B'] } : { use: name };
      const cell = capabilities!.secureAggregation;
      if (cell === true) expect(() => check([own]), name).not.toThrow();
      else
        expect(() => check([own]), name).toThrow(/combines the clients’ updates itself|all clients’ rows in one place/);
      if (typeof cell === 'object') {
        expect(() => check([own])).toThrow('set `upload: components`');
        expect(() => check([{ ...own, ...cell.with }])).not.toThrow();
      }
    }
  });

  test('needs three clients in every round that adds up', () => {
    const rounds = { sampling: 'fixed', fraction: 0.2 };
    expect(() => check([{ use: 'fedit' }], 10, { rounds })).toThrow(
      'methods[0] (fedit): stage “federated”: secure aggregation needs at least 3 clients, not 2',
    );
    expect(() => check([{ use: 'fedit' }], 15, { rounds })).not.toThrow();
    // The server's own rows take part like a client, and hide nobody from the server.
    expect(() => check([{ use: 'fedit' }], 10, { rounds }, true)).toThrow(
      'needs at least 3 clients, not 2 beside the server’s own rows',
    );
    expect(() => check([{ use: 'fedit' }], 15, { rounds }, true)).not.toThrow();
    expect(() => check([{ use: 'local-only' }], 1)).not.toThrow();
  });
});

describe('with privacy', () => {
  const privacy = { use: 'privacy', noise: 1, delta: 1e-5 };
  const clip = { use: 'clip', norm: 1 };
  const people = { clients: ['a', 'b', 'c', 'd'], proxy: false, known };
  const around = (more: object, proxy = false) => {
    const resolved = config({ guards: [clip, privacy], ...more });
    return withGuards(resolved, layOut(resolved, known, layout), { ...people, proxy });
  };

  test('everybody is in every round, whose noise is the clients’ own; who takes part is no secret', async () => {
    for (const rounds of [{}, { sampling: 'fixed' }, { sampling: 'fixed', fraction: 1 }]) {
      const [stage] = around({
        rounds,
        serve: { clients: people.clients, metrics: 'anyone' },
        data: { format: 'dolly' },
      })[0]!.stages;
      const start = stage!.start({ adapter: initAdapter(layout, 1), clients: people.clients, before: undefined });
      const { release } = await stage!.guard!(start, 0);
      expect(release!.noise).toEqual({ noise: 1, bound: 1, updates: 1 });
      expect(release!.privacy).toMatchObject({
        rate: 1,
        epsilon: rdpEpsilon([{ noise: 1, rate: 1, steps: 1 }], 1e-5).epsilon,
      });
      expect(() => release!.noised(undefined)).toThrow('clients add their noise to a sum, and there is none');
    }
  });

  test('an ε becomes the least noise at rate 1; rows of the server’s own are refused', () => {
    const [{ guards } = expect.fail()] = around({ guards: [clip, { use: 'privacy', epsilon: 8, delta: 1e-5 }] });
    expect(rdpEpsilon([{ noise: guards!.privacy!.noise, rate: 1, steps: 10 }], 1e-5).epsilon).toBeCloseTo(8, 1);
    expect(() => around({}, true)).toThrow('methods[0] (fedit): rows of the server’s own (`clients.proxy`)');
    expect(() => around({ methods: [{ use: 'local-only' }] }, true)).not.toThrow();
  });

  test('a run says what it cost, and tells of nobody what it did', async () => {
    using folder = workspace();
    const summary = await run(
      {
        ...smallConfig,
        methods: [{ use: 'fedit' }],
        rounds: { count: 2 },
        combine: 'secure',
        guards: [
          { use: 'clip', norm: 0.05 },
          { use: 'privacy', noise: 2, delta: 1e-4 },
        ],
        evaluate: { every: 0, matrix: false },
      } as RunConfigInput,
      { out: folder.at('out') },
    );
    const cost = (steps: number): number => rdpEpsilon([{ noise: 2, rate: 1, steps }], 1e-4).epsilon;
    const [{ privacy: whole, stages: [stage] } = expect.fail()] = summary.methods;
    expect(whole).toEqual({ epsilon: cost(2), delta: 1e-4, accountant: 'rdp' });
    const honest = leastHonest(summary.data.clients.length, defaultSecureSettings);
    expect(stage!.privacy).toEqual({ noise: 2, rate: 1, rounds: 2, bound: 0.05, honest });
    expect(stage!.rounds.map(({ epsilon, trainLoss }) => [epsilon, trainLoss])).toEqual([
      [cost(1), null],
      [cost(2), null],
    ]);
    expect(await readSummary(folder.at('out', 'summary.json'))).toEqual(summary);
    const report = readFileSync(folder.at('out', 'report.html'), 'utf8');
    expect(report).toContain(`of ${honest} honest clients, everybody asked`);
    expect(report).toContain('the noise is the clients’ own');
  });
});

test('methods of every kind end with the adapters of plain sums, to the resolution', async () => {
  using folder = workspace();
  const plain = {
    ...smallConfig,
    methods: [
      { use: 'fedit' },
      { use: 'rolora' },
      { use: 'scaffold' },
      { use: 'fedalt' },
      { use: 'fedlora-optimizer', upload: 'components', global: { rounds: 1, rows: 2 }, local: { steps: 1 } },
    ],
    evaluate: { every: 0, matrix: false },
  };
  await run(plain as RunConfigInput, { out: folder.at('plain') });
  const summary = await run({ ...plain, combine: 'secure' } as RunConfigInput, { out: folder.at('secure') });
  const adapter = (out: string, method: string): Tensors => {
    const file = folder.at(out, 'adapters', method, 'global', 'adapter_model.safetensors');
    return decodeSafetensors(readFileSync(file), file).tensors;
  };
  for (const { label } of summary.methods) {
    const [a, b] = [adapter('plain', label), adapter('secure', label)];
    expect(norm(a), label).toBeGreaterThan(0.1);
    expect(norm(subtract(a, b)) / norm(a), label).toBeLessThan(1e-4);
  }
});
