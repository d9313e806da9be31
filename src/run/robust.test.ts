import { existsSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { contents, smallConfig, workspace } from '../../tests/support/workspace.ts';
import { checkConfig } from '../config/check.ts';
import type { RunConfigInput } from '../config/schema.ts';
import type { LoraLayout } from '../lora/adapter.ts';
import { knownMethods, layOut } from './methods.ts';
import { checkRobust, robustOf } from './robust.ts';
import { run } from './run.ts';

const layout: LoraLayout = {
  rslora: false,
  modules: [{ name: 'model.layers.0.self_attn.q_proj', inFeatures: 4, outFeatures: 4, rank: 2, alpha: 2, scale: 1 }],
};
const known = knownMethods();
const config = (combine: unknown, more: Partial<RunConfigInput> = {}) =>
  checkConfig(
    { model: { path: 'm' }, data: { path: 'd', format: 'dolly' }, methods: [{ use: 'fedit' }], combine, ...more },
    known,
  );
const check = (combine: unknown, clients: number, more: Partial<RunConfigInput> = {}): void => {
  const resolved = config(combine, more);
  checkRobust(resolved, layOut(resolved, known, layout), clients);
};
const robust = (rule: string, more: object = {}): object => ({ robust: { rule, ...more } });

describe('combine', () => {
  test('is read as a rule', () => {
    expect(robustOf(config('plain'))).toEqual({});
    expect(robustOf({})).toEqual({});
    expect(robustOf(config(robust('krum', { bad: 1 })))).toEqual({ robust: { rule: 'krum', bad: 1 } });
    expect(robustOf(config(robust('multi-krum', { bad: 1, keep: 3 })))).toEqual({
      robust: { rule: 'multi-krum', bad: 1, keep: 3 },
    });
    expect(robustOf(config(robust('trimmed-mean', { share: 0.2 })))).toEqual({
      robust: { rule: 'trimmed-mean', share: 0.2 },
    });
    expect(robustOf(config(robust('median')))).toEqual({ robust: { rule: 'median' } });
    for (const rule of ['krum', 'multi-krum', 'bulyan']) {
      expect(robustOf(config(robust(rule, { bad: 1, distance: 'product' })))).toEqual({
        robust: { rule, bad: 1, distance: 'product' },
      });
    }
  });

  test.each([
    ['middle', 'combine: expected one of plain, secure or a section with the keys robust, got "middle"'],
    [robust('krumm', { bad: 1 }), 'combine.robust.rule: expected one of krum, multi-krum'],
    [robust('krumm', { bad: 1 }), 'krum'],
    [robust('krum', { bad: -1 }), 'combine.robust.bad: expected a whole number of at least 0, got -1'],
    [robust('krum'), 'combine.robust.bad: missing: `rule: krum` needs the number of bad clients'],
    [robust('trimmed-mean'), 'combine.robust.share: missing: `rule: trimmed-mean` needs the share to cut'],
    [robust('trimmed-mean', { share: 0.5 }), 'combine.robust.share: expected a number of at least 0 and below 0.5'],
    [robust('median', { bad: 1 }), 'combine.robust.bad: has no effect with `rule: median`'],
    [robust('median', { distance: 'product' }), 'combine.robust.distance: has no effect with `rule: median`'],
    [robust('krum', { bad: 1, distance: 'products' }), 'combine.robust.distance: expected one of factors, product'],
    [robust('krum', { bad: 1, keep: 2 }), 'combine.robust.keep: has no effect with `rule: krum`'],
    [robust('median', { bda: 1 }), 'combine.robust.bda: unknown key'],
    [{ robustly: {} }, 'combine.robustly: unknown key; did you mean `robust`?'],
  ])('%j is refused where it is wrong', (combine, message) => {
    expect(() => config(combine)).toThrow(message);
  });

  test('with Poisson sampling is refused: a draw may be too small for the rule', () => {
    const rounds = { sampling: 'poisson', fraction: 0.5 } as const;
    expect(() => config(robust('median'), { rounds })).toThrow('combine.robust: needs a sure number of updates');
  });

  test('with too few clients in a round is refused before it begins', () => {
    expect(() => check(robust('krum', { bad: 2 }), 7)).not.toThrow();
    expect(() => check(robust('krum', { bad: 2 }), 6)).toThrow(
      'combine.robust: krum takes at least 7 updates with these settings, and a round of stage “federated” of fedit has 6 of 6 client(s)',
    );
    const rounds = { sampling: 'fixed', fraction: 0.5 } as const;
    expect(() => check(robust('bulyan', { bad: 1 }), 12, { rounds })).toThrow('takes at least 7 updates');
    expect(() => check(robust('bulyan', { bad: 1 }), 14, { rounds })).not.toThrow();
    expect(() => check('plain', 1)).not.toThrow();
  });

  test('with a method that combines single updates itself is refused; local-only is no matter', () => {
    const components = { methods: [{ use: 'fedit' }, { use: 'fedlora-optimizer', average: 'components' }] };
    expect(() => check(robust('median'), 9, components)).toThrow(
      /methods\[1\] \(fedlora-optimizer\): stage “.*” combines/,
    );
    expect(() => check(robust('krum', { bad: 1 }), 2, { methods: [{ use: 'local-only' }] })).not.toThrow();
  });
});

test('rows of the server’s own are one of the updates that a rule counts', () => {
  const resolved = config(robust('krum', { bad: 1 }));
  const methods = layOut(resolved, known, layout);
  expect(() => checkRobust(resolved, methods, 4, false)).toThrow('krum takes at least 5 updates');
  expect(() => checkRobust(resolved, methods, 4, true)).not.toThrow();
});

test('distances of products need updates of factors', () => {
  const products = robust('krum', { bad: 1, distance: 'product' });
  for (const use of ['fedit', 'ffa-lora', 'rolora', 'fedadam', 'ditto'])
    expect(() => check(products, 5, { methods: [{ use }] })).not.toThrow();
  for (const method of [{ use: 'scaffold' }, { use: 'fedsa-lora' }, { use: 'fed-sb' }])
    expect(() => check(products, 5, { methods: [method] })).toThrow('use `distance: factors`');
});

test('a run with a robust rule ends with other adapters, keeps its rule in its folder, and goes on only with it', async () => {
  using folder = workspace();
  const start = { ...smallConfig, rounds: { count: 1 } } as RunConfigInput;
  const krum = { ...start, combine: { robust: { rule: 'krum', bad: 0 } } } as RunConfigInput;
  await run(start, { out: folder.at('plain') });
  await run(krum, { out: folder.at('krum') });
  const adapter = (out: string): Buffer =>
    contents(folder.at(out, 'adapters/fedit/global')).get('adapter_model.safetensors')!;
  expect(adapter('krum').equals(adapter('plain'))).toBe(false);
  expect(parse(readFileSync(folder.at('krum', 'config.yaml'), 'utf8'))).toMatchObject({
    combine: { robust: { rule: 'krum', bad: 0 } },
  });
  const resumed = run({ ...start, combine: 'plain' }, { out: folder.at('krum'), resume: true });
  await expect(resumed).rejects.toThrow('combine');
  // Three clients are too few to withstand one: said before anything is written.
  const bad = { ...start, combine: { robust: { rule: 'krum', bad: 1 } } } as RunConfigInput;
  await expect(run(bad, { out: folder.at('bad') })).rejects.toThrow('krum takes at least 5 updates');
  expect(existsSync(folder.at('bad'))).toBe(false);
});
