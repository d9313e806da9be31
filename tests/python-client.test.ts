import { execFile } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { checkConfig } from '../src/config/check.ts';
import type { RunConfig, RunConfigInput } from '../src/config/schema.ts';
import type { TokenRow } from '../src/data/types.ts';
import { sumsOf } from '../src/evaluate/score.ts';
import type { Sums } from '../src/evaluate/sums.ts';
import { toPayload } from '../src/federation/http/payload.ts';
import { PROTOCOL } from '../src/federation/http/protocol.ts';
import { readTensors } from '../src/formats/files/safetensors.ts';
import { initAdapter } from '../src/lora/init.ts';
import type { Stage } from '../src/methods/stage.ts';
import { knownMethods, layOut } from '../src/run/methods.ts';
import { engineOf, layoutOf, modelDigest, openData, openModel, type OpenModel } from '../src/run/subject.ts';
import { version } from '../src/run/version.ts';
import type { Engine } from '../src/runtime/engine.ts';
import { stream } from '../src/tensor/random.ts';
import type { State } from '../src/tensor/state.ts';
import type { Tensors } from '../src/tensor/tensor.ts';
import { getTensor, mapTensors, shapeDifference } from '../src/tensor/tensors.ts';
import { clientKit } from '../src/train/client-kit.ts';
import { collect } from './support/collect.ts';
import { embeddedModel, embeddedTasks, workspace } from './support/workspace.ts';

const root = resolve(import.meta.dirname, '..');
const folder = resolve(root, 'examples/python-client');
const source = readFileSync(resolve(folder, 'fedlora_client.py'), 'utf8');
const python = process.env['FEDLORA_PYTHON'];
const withPython =
  python === undefined ? '(needs FEDLORA_PYTHON, a Python with examples/python-client/requirements.txt)' : '';

describe('the Python client, as a text', () => {
  test('is for this version and protocol', () => {
    expect(source).toContain(`PROTOCOL, FEDLORA = ${PROTOCOL}, "${version}"`);
  });

  test('asks for nothing that the protocol does not have, and reads no pickles', () => {
    const documented = readFileSync(resolve(root, 'docs/protocol.md'), 'utf8');
    const paths = [...source.matchAll(/f?"((?:run|join|ready|next|tasks|uploads|blobs)\b[^" ]*)"/g)]
      .map(([, path]) => path!)
      .map(
        (path) =>
          `/v1/${path
            .replace(/\{(?:\w+\[')?id(?:'\])?\}/, 'ID')
            .replace(/\{[^}]*\}/, 'DIGEST')
            .replace('=20', '=S')}`,
      );
    expect(new Set(paths).size).toBeGreaterThan(7);
    for (const path of paths) expect(documented, path).toMatch(new RegExp(`(GET|POST) ${path.replace('?', '\\?')}`));
    expect(source).not.toMatch(/pickle|torch\.load|np\.load/);
  });
});

const base: RunConfigInput = {
  model: { path: embeddedModel },
  data: { format: 'jsonl', template: 'chat', maxLength: 96 },
  clients: { split: { validation: 0, test: 0 } },
  lora: { rank: 4, alpha: 8 },
  methods: [{ use: 'fedit' }],
  train: { batchSize: 8, steps: 5, rate: 1e-3 },
  serve: { clients: ['ann', 'ben'] },
  seed: 3,
};
const configured = (more: Partial<RunConfigInput>): RunConfig => checkConfig({ ...base, ...more }, knownMethods());
const optimizer = (options: object): Partial<RunConfigInput> => ({
  methods: [{ use: 'fedlora-optimizer', ...options }],
});

interface Case {
  readonly name: string;
  readonly config: RunConfig;
  readonly stage: string;
  /** What may differ: gradients, or numbers after optimizer steps (golden README). */
  readonly kind: 'gradient' | 'trained';
}

const training = { batchSize: 8, steps: 5, rate: 1e-3 };
/** All rows are in every step, so that their order does not matter. */
const cases: Case[] = [
  {
    name: 'fedit',
    stage: 'federated',
    kind: 'trained',
    config: configured({ train: { ...training, clip: 0.1, weightDecay: 0.01, schedule: 'cosine', warmup: 1 } }),
  },
  {
    name: 'micro-batches',
    stage: 'federated',
    kind: 'trained',
    config: configured({ train: { batchSize: 2, accumulate: 3, epochs: 4, rate: 1e-3, clip: 0 } }),
  },
  {
    name: 'fedit-local',
    stage: 'local',
    kind: 'trained',
    config: configured({
      methods: [{ use: 'fedit', label: 'both', local: { steps: 4, rate: 2e-3 } }],
      train: { ...training, schedule: 'linear' },
    }),
  },
  {
    name: 'weights',
    stage: 'federated',
    kind: 'trained',
    config: configured(optimizer({ weights: 'tokens', rounds: 1 })),
  },
  ...(['column', 'rank', 'row'] as const).flatMap((axis): Case[] => [
    {
      name: `global-${axis}`,
      stage: 'global',
      kind: 'gradient',
      config: configured(optimizer({ axis, global: { rows: 'all' } })),
    },
    {
      name: `local-${axis}`,
      stage: 'local',
      kind: 'trained',
      config: configured(
        optimizer({ axis, lambda: 0.1, penalty: axis === 'rank' ? 'proximal' : 'coupled', local: { steps: 5 } }),
      ),
    },
  ]),
  {
    name: 'global-detach',
    stage: 'global',
    kind: 'gradient',
    config: configured({
      ...optimizer({ renormalise: 'detach', global: { rows: 8 } }),
      train: { ...training, batchSize: 2 },
    }),
  },
  {
    name: 'global-off',
    stage: 'global',
    kind: 'gradient',
    config: configured(optimizer({ axis: 'row', renormalise: 'off' })),
  },
];

const refused = {
  'another method': configured({ methods: [{ use: 'fedit' }, { use: 'scaffold' }] }),
  'a guard': configured({ guards: [{ use: 'clip', norm: 1 }] }),
  'a kept optimizer': configured({ methods: [{ use: 'fedit', optimizerState: 'keep' }] }),
  'an ablation': configured(optimizer({ local: { part: 'direction' } })),
  'the best of many': configured({ train: { ...training, keepBest: { every: 2 } } }),
  'another format': configured({ data: { format: 'dolly' } }),
};

interface Answer {
  readonly cases: readonly { name: string; losses: number[]; weight: number; sent: boolean }[];
  readonly read: Readonly<Record<string, { rows: [number[], number[]][]; left: number }>>;
  readonly refused: Readonly<Record<string, string | null>>;
  readonly digest: string;
  readonly sums: Sums;
}

const data = {
  chat: configured({}),
  plain: configured({ data: { format: 'jsonl', template: 'plain', separator: ' => ', maxLength: 96 } }),
};

describe.skipIf(python === undefined)(`the Python client computes what this project computes ${withPython}`, () => {
  const space = workspace();
  const at = (name: string): string => space.at(name);
  let model: OpenModel;
  let engine: Engine;
  let rows: TokenRow[];
  let answer: Answer;
  const received = new Map<string, Tensors>();
  const shareds = new Map<string, { readonly stage: Stage; readonly shared: State }>();
  const perturbed = (tensors: Tensors, size: number, name: string): Tensors => {
    const random = stream(1, 'python', name);
    return mapTensors(tensors, ({ shape, data: x }) => ({
      shape,
      data: x.map((value) => value + size * (2 * random.uniform() - 1)),
    }));
  };

  beforeAll(async () => {
    model = await openModel(embeddedModel);
    const layout = layoutOf(model, cases[0]!.config.lora);
    engine = await engineOf(model, layout, { threads: 1, arena: true, provider: 'cpu' });
    const initial = initAdapter(layout, 3);
    const adapter = { layout, factors: perturbed(initial.factors, 0.05, 'factors') };
    writeFileSync(at('rows.jsonl'), readFileSync(embeddedTasks, 'utf8').split('\n').slice(0, 5).join('\n'));
    const read = await openData(data.chat, at('rows.jsonl'), model, undefined, 'ann');
    rows = [...read.clients[0]!.train];
    writeFileSync(at('factors.safetensors'), toPayload(adapter.factors));
    for (const { name, config, stage: wanted } of cases) {
      const stage = layOut(config, knownMethods(), layout)[0]!.stages.find((one) => one.name === wanted)!;
      let shared = stage.start({ adapter, before: undefined, clients: ['ann', 'ben'] });
      if (wanted === 'global')
        shared = {
          ...(shared as { delta: Tensors }),
          delta: perturbed((shared as { delta: Tensors }).delta, 0.02, name),
        };
      const sent = new Map([...(stage.frozen?.(shared, 0) ?? []), ...stage.broadcast(shared, 'ann', 0)]);
      received.set(name, sent);
      shareds.set(name, { stage, shared });
      writeFileSync(at(`received-${name}.safetensors`), toPayload(sent));
    }
    const asked = {
      model: embeddedModel,
      lora: cases[0]!.config.lora,
      rows: rows.map(({ ids, labelled }) => ({ ids: [...ids], labels: [...labelled] })),
      cases: cases.map(({ name, config, stage }) => ({
        name,
        config,
        place: { method: config.methods[0]!.label, stage, stageIndex: 0 },
      })),
      data,
      refused,
      file: at('rows.jsonl'),
    };
    writeFileSync(at('asked.json'), JSON.stringify(asked));
    const script = resolve(root, 'tests/support/python_work.py');
    await promisify(execFile)(python!, [script, space.path], {
      env: { ...process.env, PYTHONPATH: folder, PYTHONDONTWRITEBYTECODE: '1' },
      timeout: 220_000,
    });
    answer = JSON.parse(readFileSync(at('answer.json'), 'utf8')) as Answer;
  });
  afterAll(async () => {
    await engine?.close();
    space[Symbol.dispose]();
  });

  test.each(cases.map((one) => [one.name, one] as const))('%s', async (name, { config, kind }) => {
    const { stage, shared } = shareds.get(name)!;
    const client = { id: 'ann', train: rows, validation: [], test: [], testExamples: [] };
    const kit = clientKit({
      client,
      engine,
      seed: config.seed,
      stage: stage.name,
      round: 0,
      signal: new AbortController().signal,
    });
    const { result, yielded } = await collect(stage.work(received.get(name)!, undefined, kit));
    const sends = result.update.size > 0;
    const ours = sends ? result.update : stage.models(shared, result.mine)[0]!.adapter.factors;
    const theirs = await readTensors(at(`result-${name}.safetensors`));
    expect(shapeDifference(ours, theirs)).toBeUndefined();
    const told = answer.cases.find((one) => one.name === name)!;
    expect([told.sent, told.weight]).toEqual([sends, result.weight]);
    const tokens = yielded.reduce((sum, step) => sum + step.tokens, 0);
    const loss = yielded.reduce((sum, step) => sum + step.loss * step.tokens, 0) / tokens;
    expect(Math.abs(told.losses.reduce((sum, one) => sum + one / told.losses.length, 0) - loss) / loss).toBeLessThan(
      1e-4,
    );
    let [most, largest] = [0, 0];
    for (const [key, { data: x }] of ours) {
      const y = getTensor(theirs, key).data;
      for (let i = 0; i < x.length; i++) {
        const allowed = kind === 'gradient' ? 1e-5 + 1e-4 * Math.abs(x[i]!) : 1e-4;
        most = Math.max(most, Math.abs(x[i]! - y[i]!) / allowed);
        largest = Math.max(largest, Math.abs(x[i]!));
      }
    }
    expect(largest).toBeGreaterThan(1e-3);
    expect(most).toBeLessThan(1);
  });

  test('rows become the same tokens, labelled alike', async () => {
    const sorted = (list: readonly (readonly [number[], number[]])[]): string[] =>
      list.map((row) => JSON.stringify(row)).sort();
    for (const [name, config] of Object.entries(data)) {
      const { clients } = await openData(config, at('rows.jsonl'), model, undefined, 'ann');
      const mine = clients[0]!.train.map(({ ids, labelled }): [number[], number[]] => [[...ids], [...labelled]]);
      expect(mine).toHaveLength(5);
      expect(sorted(answer.read[name]!.rows), name).toEqual(sorted(mine));
      expect(answer.read[name]!.left).toBe(0);
    }
  });

  test('an evaluation adds up the same sums', async () => {
    const client = { id: 'ann', train: [], validation: [], test: rows, testExamples: [] };
    const options = { seed: 1, batchSize: 2, signal: new AbortController().signal };
    const ours = await sumsOf(engine, await readTensors(at('factors.safetensors')), client, options);
    expect({ ...answer.sums, nll: 0 }).toEqual({ ...ours, nll: 0 });
    expect(Math.abs(answer.sums.nll - ours.nll) / ours.nll).toBeLessThan(1e-4);
  });

  test('the base model has the same digest', async () => {
    expect(answer.digest).toBe(await modelDigest(model));
  });

  test.each([
    ['another method', 'the method `scaffold`'],
    ['a guard', 'the guard `clip`'],
    ['a kept optimizer', '`optimizerState: keep` of `fedit`'],
    ['an ablation', '`local.part: direction` of `fedlora-optimizer`'],
    ['the best of many', '`train.keepBest`'],
    ['another format', '`data.format: dolly`'],
  ])('refuses %s by name', (name, what) => {
    expect(answer.refused[name]).toBe(
      `this run has ${what}, which this client does not do: take part with \`fedlora join\``,
    );
  });
});
