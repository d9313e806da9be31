import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { Summary } from '../src/report/summary.ts';
import { readSweep } from '../src/experiments/read-sweep.ts';
import { knownMethods } from '../src/run/methods.ts';
import { readConfig } from '../src/run/read-config.ts';
import { needs, shared } from './shared.ts';
import { smollm2 } from './smollm2.ts';
import { fedlora } from './support/cli.ts';
import { contents, workspace } from './support/workspace.ts';

const examples = resolve(import.meta.dirname, '../examples');
const yaml = readdirSync(examples).filter((name) => name.endsWith('.yaml'));
const sweeps = yaml.filter((name) => name.startsWith('sweep-'));
const files = yaml.filter((name) => !sweeps.includes(name));

describe('every example', () => {
  test.each(files)('%s is a right configuration', async (name) => {
    const config = await readConfig(join(examples, name));
    expect(config.methods.length).toBeGreaterThan(0);
  });

  test.each(sweeps)('%s is a right sweep', async (name) => {
    const sweep = await readSweep(join(examples, name), knownMethods());
    expect(sweep.arms.length).toBeGreaterThan(1);
  });
});

describe('on a real model and real data', () => {
  // The examples with a few rows of three clients: all stages, the real tokenizer and chat template, generation.
  const small = [
    'rounds.count=1',
    'train.steps=1',
    'train.batchSize=2',
    'clients.count=3',
    'clients.limit=6',
    'clients.split={validation: 1, test: 1}',
    'evaluate={matrix: false, every: 0, generate: 1, maxNewTokens: 4}',
  ];
  const cases = [
    [
      'dolly-smollm2.yaml',
      'data/dolly/databricks-dolly-15k.jsonl',
      [
        'data.maxLength=64',
        'methods=[{use: fedlora-optimizer, axis: row, global: {rounds: 1, rows: 2}, local: {steps: 1}}]',
      ],
    ],
    [
      'natural-instructions-smollm2.yaml',
      'data/natural-instructions',
      ['data.maxLength=128', 'methods=[{use: fedit, local: {steps: 1}}]'],
    ],
  ] as const;
  const model = smollm2();

  for (const [name, path, sets] of cases) {
    const data = shared(path);
    const missing = model === undefined || data === undefined;
    const title = `${name}${missing ? ` ${needs(`models/smollm2-135m-instruct and ${path}`)}` : ''}`;
    test.skipIf(missing)(title, { timeout: 1_200_000 }, async () => {
      using folder = workspace();
      const out = folder.at('out');
      const all = [`model.path=${model}`, `data.path=${data}`, ...small, ...sets].flatMap((set) => ['--set', set]);
      const ended = await fedlora(['run', join(examples, name), '--out', out, ...all], { limit: 1_190_000 });
      expect(ended.code, ended.stderr).toBe(0);
      const {
        base,
        methods,
        data: held,
        model: used,
      } = JSON.parse(readFileSync(`${out}/summary.json`, 'utf8')) as Summary;
      expect(used.parameters).toBe(134_515_008);
      expect(held.clients).toHaveLength(3);
      // Training lowers the loss of the very rows' kind within a few steps, personal training further.
      expect(methods).toHaveLength(1);
      for (const { global, personal } of methods) {
        expect(global.micro.loss).toBeLessThan(base.micro.loss);
        expect(personal!.macro.loss).toBeLessThan(base.macro.loss);
        expect(global.micro.generated).toBe(3);
      }
      expect(contents(`${out}/adapters`).size).toBe(2 * (1 + 3));
    });
  }
});
