import { execFile } from 'node:child_process';
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, expectTypeOf, test } from 'vitest';
import { z } from 'zod';
import {
  averageFactors,
  defineMethod,
  factors,
  Interrupted,
  run,
  runEvents,
  type Method,
  type Progress,
  type RunConfig,
  type RunConfigInput,
  type Stage,
  type Summary,
  UserError,
} from '../src/index.ts';
import { readTensors } from '../src/formats/files/safetensors.ts';
import { summarySchema } from '../src/run/summary-schema.ts';
import { contents, smallConfig, workspace } from './support/workspace.ts';

const root = resolve(import.meta.dirname, '..');
const execute = promisify(execFile);

const config = { ...smallConfig, rounds: { count: 1 } } as RunConfigInput;

/** FedIT under another name, with an option that its stages are laid out by. */
const mine = defineMethod({
  name: 'mine',
  summary: 'federated averaging, as often as said',
  source: 'a test',
  options: z.strictObject({ times: z.int().positive().describe('rounds') }),
  stages: ({ times }, { layout, train }) => [
    averageFactors({
      name: 'federated',
      rounds: times,
      layout,
      parametrisation: factors(),
      train,
      weights: 'examples',
      optimizerState: 'reset',
    }),
  ],
});

describe('run with a configuration as a value', () => {
  test('gives the summary that it writes; an own method runs beside the shipped ones from the same start', async () => {
    using folder = workspace();
    const out = folder.at('out');
    const events: Progress[] = [];
    const methods = [{ use: 'fedit' }, { use: 'mine', times: 1, label: 'own' }];
    const summary = await run({ ...config, methods }, { out, methods: [mine], onEvent: (event) => events.push(event) });

    expect(summary).toEqual(JSON.parse(readFileSync(`${out}/summary.json`, 'utf8')));
    expect(summarySchema.parse(summary)).toEqual(summary);
    const [fedit, own] = summary.methods;
    expect(own).toMatchObject({ label: 'own', use: 'mine', options: { times: 1 } });
    // The same method under another name: the same bits.
    expect(own!.global).toEqual(fedit!.global);
    expect(contents(`${out}/adapters/own`)).toEqual(contents(`${out}/adapters/fedit`));
    expect(fedit!.global.micro.loss).not.toBe(summary.base.micro.loss);
    expect(summary.model.trainable).toBe(4 * 2 * (128 + 128 + 128 + 64));
    expect(fedit!.stages[0]!.trained).toBe(summary.model.trainable);

    const kinds = new Set(events.map(({ kind }) => kind));
    for (const kind of [
      'opened',
      'base evaluated',
      'progress',
      'round done',
      'stage evaluated',
      'method done',
      'finished',
    ])
      expect(kinds).toContain(kind);
    const steps = events.filter(({ kind }) => kind === 'progress').length;
    expect(steps).toBe(2 * 3 * 2);
    const written = [...contents(out).keys()].filter((name) => !name.startsWith('adapters/'));
    expect(written.filter((name) => !name.startsWith('journal.sqlite'))).toEqual([
      'config.yaml',
      'environment.json',
      'metrics.jsonl',
      'report.html',
      'summary.json',
    ]);
  });

  test('needs no federation to show what it does: one client, one round, adapters that PEFT names', async () => {
    using folder = workspace();
    const clients = { ...smallConfig.clients, count: 1 };
    const lora = { rank: 3, alpha: 6, rslora: true, targets: ['down_proj' as const] };
    await run({ ...config, clients: clients as RunConfigInput['clients'], lora }, { out: folder.at('out') });
    const adapter = folder.at('out', 'adapters/fedit/global');
    expect(JSON.parse(readFileSync(`${adapter}/adapter_config.json`, 'utf8'))).toMatchObject({
      peft_type: 'LORA',
      r: 3,
      lora_alpha: 6,
      use_rslora: true,
      target_modules: ['down_proj'],
    });
    const tensors = await readTensors(`${adapter}/adapter_model.safetensors`);
    expect(tensors.get('base_model.model.model.layers.3.mlp.down_proj.lora_A.weight')!.shape).toEqual([3, 448]);
    expect(tensors.size).toBe(8);
  });

  test('an aborted signal stops it resumably, with Interrupted whatever the reason given', async () => {
    using folder = workspace();
    const out = folder.at('out');
    const control = new AbortController();
    const stopped = run(config, {
      out,
      signal: control.signal,
      onEvent: ({ kind }) => kind === 'progress' && control.abort(),
    });
    await expect(stopped).rejects.toBeInstanceOf(Interrupted);
    await expect(run(config, { out })).rejects.toThrow(/unfinished: add --resume/);
    const resumed = await run(config, { out, resume: true });
    const whole = await run(config, { out: folder.at('whole') });
    expect(resumed.methods[0]!.global).toEqual(whole.methods[0]!.global);
    expect(contents(`${out}/adapters`)).toEqual(contents(folder.at('whole', 'adapters')));
  });

  test('its events can be iterated, and leaving them stops the run', async () => {
    using folder = workspace();
    for await (const event of runEvents(config, { out: folder.at('out') })) if (event.kind === 'progress') break;
    await expect(run(config, { out: folder.at('out'), resume: true })).resolves.toMatchObject({ schema: 1 });
  });

  test('a listener that fails ends the run with its error, and leaves the folder free to go on', async () => {
    using folder = workspace();
    const out = folder.at('out');
    const listener = ({ kind }: { kind: string }): void => {
      if (kind === 'progress') throw new Error('the listener failed');
    };
    await expect(run(config, { out, onEvent: listener })).rejects.toThrow('the listener failed');
    await expect(run(config, { out, resume: true })).resolves.toMatchObject({ schema: 1 });
  });

  test('mistakes are UserErrors by key, and nothing is written', async () => {
    using folder = workspace();
    const bad = { ...config, methods: [{ use: 'mine' }], seed: -1 };
    const attempt = run(bad, { out: folder.at('out'), methods: [mine] });
    await expect(attempt).rejects.toThrow(UserError);
    await expect(attempt).rejects.toThrow(/methods\[0\]\.times: missing: a whole number above 0\n {6}rounds/);
    await expect(attempt).rejects.toThrow(/seed: expected a whole number of at least 0/);
    await expect(run(config, { out: folder.at('out'), methods: [{ ...mine, name: 'fedit' }] })).rejects.toThrow(
      'there is a method called `fedit` already: give yours another name',
    );
    expect(contents(folder.path).size).toBe(0);
  });

  test('starts from a given adapter, whose layout counts', async () => {
    using folder = workspace();
    await run({ ...config, lora: { rank: 1, alpha: 1 } }, { out: folder.at('first') });
    const adapter = folder.at('first', 'adapters/fedit/global');
    const summary = await run(config, { out: folder.at('second'), adapter });
    expect(summary.lora).toMatchObject({ rank: 1, alpha: 1 });
    // Another start makes another run.
    expect(await run(config, { out: folder.at('second'), adapter })).toEqual(summary);
    for (const other of [{}, { adapter: folder.at('second', 'adapters/fedit/global') }]) {
      await expect(run(config, { out: folder.at('second'), ...other })).rejects.toThrow(
        /belongs to another run: its start differs/,
      );
    }
  });
});

describe('the package', () => {
  test('types: configurations, methods, results', () => {
    expectTypeOf(run).parameter(0).toEqualTypeOf<RunConfigInput>();
    expectTypeOf(run).returns.resolves.toEqualTypeOf<Summary>();
    expectTypeOf<RunConfig>().toExtend<RunConfigInput>();
    expectTypeOf(mine).toEqualTypeOf<Method>();
    expectTypeOf<Method['stages']>().returns.toEqualTypeOf<readonly Stage[]>();
    expectTypeOf<RunConfig['lora']['rank']>().toEqualTypeOf<number>();
    expectTypeOf<RunConfigInput['lora']>().toEqualTypeOf<RunConfigInput['lora'] | undefined>();
  });

  test('its published types compile in a project of its own, and its exports load', { timeout: 120_000 }, async () => {
    using folder = workspace();
    mkdirSync(folder.at('node_modules'));
    symlinkSync(root, folder.at('node_modules', 'fedlora'), 'junction');
    symlinkSync(resolve(root, 'node_modules/zod'), folder.at('node_modules', 'zod'), 'junction');
    writeFileSync(folder.at('package.json'), '{ "type": "module" }');
    writeFileSync(
      folder.at('own.ts'),
      `import { defineMethod, localTraining, onlyB, run, type RunConfigInput } from 'fedlora';
import { z } from 'zod';
const mine = defineMethod({
  name: 'mine', summary: 's', source: 's', options: z.strictObject({ mu: z.number().default(0.1) }),
  stages: ({ mu }, { layout, train }) => [localTraining({ name: 'local', layout, parametrisation: onlyB(), train: { ...train, rate: mu } })],
});
const config: RunConfigInput = { model: { path: 'm' }, data: { path: 'd', format: 'jsonl' }, methods: [{ use: mine.name, mu: 0.2 }] };
// @ts-expect-error a rank is a number
const wrong: RunConfigInput = { ...config, lora: { rank: '8' } };
export const summary = async (): Promise<number> => (await run(config, { out: 'o', methods: [mine] })).base.micro.loss;
export { wrong };
`,
    );
    const flags = [
      '--strict',
      '--noEmit',
      '--skipLibCheck',
      '--module',
      'nodenext',
      '--target',
      'es2023',
      '--lib',
      'es2023,dom,esnext.disposable',
      '--exactOptionalPropertyTypes',
    ];
    const tsc = resolve(root, 'node_modules/typescript/bin/tsc');
    await execute(process.execPath, [tsc, ...flags, 'own.ts'], { cwd: folder.path });
    const script = `import * as fedlora from 'fedlora'; console.log(Object.keys(fedlora).join())`;
    const { stdout } = await execute(process.execPath, ['--input-type=module', '-e', script], { cwd: folder.path });
    for (const name of ['run', 'defineMethod', 'readConfig', 'UserError'])
      expect(stdout.trim().split(',')).toContain(name);
  });
});
