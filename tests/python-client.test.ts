import { execFile } from 'node:child_process';
import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { TokenRow } from '../src/data/types.ts';
import { sumsOf } from '../src/evaluate/score.ts';
import type { Sums } from '../src/evaluate/sums.ts';
import { roundsNamed } from '../src/federation/federation.ts';
import { toPayload } from '../src/federation/http/payload.ts';
import { readTensors } from '../src/formats/files/safetensors.ts';
import { initAdapter } from '../src/lora/init.ts';
import type { Stage } from '../src/methods/stage.ts';
import { knownMethods, layOut } from '../src/run/methods.ts';
import { modelFiles } from '../src/run/model-digest.ts';
import { engineOf, layoutOf, openData, openModel, type OpenModel } from '../src/run/subject.ts';
import type { Engine } from '../src/runtime/engine.ts';
import { stream } from '../src/tensor/random.ts';
import type { State } from '../src/tensor/state.ts';
import type { Tensors } from '../src/tensor/tensor.ts';
import { getTensor, mapTensors, shapeDifference } from '../src/tensor/tensors.ts';
import { clientKit } from '../src/train/client-kit.ts';
import { collect } from './support/collect.ts';
import { cases, data, told } from './support/python-cases.ts';
import { embeddedModel, embeddedTasks, workspace } from './support/workspace.ts';

const root = resolve(import.meta.dirname, '..');
const folder = resolve(root, 'examples/python-client');
const python = process.env['FEDLORA_PYTHON'];
const withPython =
  python === undefined ? '(needs FEDLORA_PYTHON, a Python with examples/python-client/requirements.txt)' : '';

interface Answer {
  readonly cases: readonly { name: string; losses: number[]; weight: number; sent: boolean }[];
  readonly read: Readonly<Record<string, { rows: [number[], number[]][]; left: number }>>;
  /** What was said of each model; null where it is the run's. */
  readonly models: readonly (string | null)[];
  /** What was said of a payload of 10¹² bytes. */
  readonly tooLarge: string;
  readonly sums: Sums;
}

describe.skipIf(python === undefined)(`the Python client computes what this project computes ${withPython}`, () => {
  const space = workspace();
  const at = (...parts: string[]): string => space.at(...parts);
  let model: OpenModel;
  let engine: Engine;
  let rows: TokenRow[];
  let answer: Answer;
  const received = new Map<string, Tensors>();
  const shareds = new Map<
    string,
    { readonly stages: readonly Stage[]; readonly stage: Stage; readonly shared: State }
  >();
  const perturbed = (tensors: Tensors, size: number, name: string): Tensors => {
    const random = stream(1, 'python', name);
    return mapTensors(tensors, ({ shape, data: x }) => ({
      shape,
      data: x.map((value) => value + size * (2 * random.uniform() - 1)),
    }));
  };

  /** Folders with the base model and with others. */
  const otherModels = async (): Promise<object> => {
    const { signal } = new AbortController();
    const { result: files } = await collect(modelFiles(model, signal));
    const folders = Object.entries({ same: '', flipped: 'model.safetensors', configured: 'config.json' });
    for (const [name, file] of folders) {
      cpSync(embeddedModel, at(name), { recursive: true });
      if (file === '') continue;
      const bytes = readFileSync(at(name, file));
      // A digit in config.json, some bit of a weight in the other.
      bytes[bytes.length >> 1]! ^= 1;
      writeFileSync(at(name, file), bytes);
    }
    return { files, models: folders.map(([name]) => at(name)) };
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
      const { stages } = layOut(config, knownMethods(), layout)[0]!;
      const stage = stages.find((one) => one.name === wanted)!;
      let shared = stage.start({ adapter, before: undefined, clients: ['ann', 'ben'] });
      if (wanted === 'global')
        shared = {
          ...(shared as { delta: Tensors }),
          delta: perturbed((shared as { delta: Tensors }).delta, 0.02, name),
        };
      const sent = new Map([...(stage.frozen?.(shared, 0) ?? []), ...stage.broadcast(shared, 'ann', 0)]);
      received.set(name, sent);
      shareds.set(name, { stages, stage, shared });
      writeFileSync(at(`received-${name}.safetensors`), toPayload(sent));
    }
    const asked = {
      model: embeddedModel,
      lora: cases[0]!.config.lora,
      rows: rows.map(({ ids, labelled }) => ({ ids: [...ids], labels: [...labelled] })),
      cases: cases.map(({ name, config, stage, round = 0 }) => ({
        name,
        config: told(config),
        task: { place: { method: config.methods[0]!.label, stage, stageIndex: 0 }, draw: round },
      })),
      data: Object.fromEntries(Object.entries(data).map(([name, config]) => [name, told(config)])),
      ...(await otherModels()),
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

  test.each(cases.map((one) => [one.name, one] as const))('%s', async (name, { config, kind, round = 0 }) => {
    const { stages, stage, shared } = shareds.get(name)!;
    const client = { id: 'ann', train: rows, validation: [], test: [], testExamples: [] };
    const kit = clientKit({
      client,
      engine,
      seed: config.seed,
      stage: stage.name,
      round,
      rounds: roundsNamed(stages, stage.name),
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

  test('a payload that is larger than any of the run’s is not fetched', () => {
    const numbers = [...layoutOf(model, cases[0]!.config.lora).modules].reduce(
      (sum, { rank, inFeatures, outFeatures }) => sum + rank * (inFeatures + outFeatures),
      0,
    );
    const longest = (8 * numbers + 2 ** 20).toLocaleString('en');
    expect(answer.tooLarge).toBe(
      `a payload of 1,000,000,000,000 bytes, where none of this run has more than ${longest}`,
    );
  });

  test('a base model with another byte in the middle of its weights, or another config.json, is refused by the file’s name', () => {
    const other = (name: string, file: string): string =>
      `${at(name)} is not the base model of this run (m): other bytes in ${file}`;
    expect(answer.models).toEqual([null, other('flipped', 'model.safetensors'), other('configured', 'config.json')]);
  });
});
