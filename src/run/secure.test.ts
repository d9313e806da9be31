import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { smallConfig, workspace } from '../../tests/support/workspace.ts';
import { checkConfig } from '../config/check.ts';
import type { RunConfigInput } from '../config/schema.ts';
import { defaultSecureSettings } from '../federation/secure/combiner.ts';
import { decodeSafetensors } from '../formats/safetensors.ts';
import type { LoraLayout } from '../lora/adapter.ts';
import { norm, subtract } from '../tensor/tensors.ts';
import type { Tensors } from '../tensor/tensor.ts';
import { knownMethods, layOut } from './methods.ts';
import { run } from './run.ts';
import { checkSecure, secureOf } from './secure.ts';

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
    [{ guards: [{ use: 'clip', norm: 1 }, privacy] }, 'combine: `secure` does not go with the guard `privacy`'],
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
    // The server's own rows take part like a client.
    expect(() => check([{ use: 'fedit' }], 10, { rounds }, true)).not.toThrow();
    expect(() => check([{ use: 'local-only' }], 1)).not.toThrow();
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
