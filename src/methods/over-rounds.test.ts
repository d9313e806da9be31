import { describe, expect, it } from 'vitest';
import { begin, contextOf, exactKit, oneRound, plainTraining, type Member } from '../../tests/support/rounds.ts';
import { collect } from '../../tests/support/collect.ts';
import { finished, journalIn, layout as fake, run } from '../../tests/support/federation.ts';
import { temporaryFolder } from '../../tests/support/temporary.ts';
import { layout, names, needed } from '../../tests/support/tried.ts';
import { toyAdapter } from '../../tests/toy-adapter.ts';
import { roundsNamed } from '../federation/federation.ts';
import { encodeState } from '../tensor/encode.ts';
import type { State } from '../tensor/state.ts';
import type { Tensors } from '../tensor/tensor.ts';
import { mapTensors, zeros } from '../tensor/tensors.ts';
import { trainSettings } from '../run/methods.ts';
import type { TrainSettings } from '../train/settings.ts';
import { ditto } from './ditto.ts';
import { methods } from './registry.ts';
import { scaffold, type ScaffoldState, type Variate } from './scaffold.ts';
import type { Stage } from './stage.ts';

const train: TrainSettings = { ...plainTraining, length: { steps: 3 }, weightDecay: 0.1 };
const falling: TrainSettings = { ...train, overRounds: { schedule: 'linear', floor: 0 } };
const halved: TrainSettings = { ...train, rate: train.rate / 2 };
const start = toyAdapter(layout, 1);
const folder = temporaryFolder();

const stagesOf = (name: string, options: object, settings: TrainSettings): readonly Stage[] =>
  methods
    .find((method) => method.name === name)!
    .stages({ ...needed[name], ...options }, contextOf(layout, { rounds: 2, train: settings }));

/** Clients whose losses pull each number of what is fed towards a number of the client's own. */
const kitOf = (k: number, round: number, overall: { readonly round: number; readonly rounds: number }) => ({
  ...exactKit(
    (fed) =>
      mapTensors(fed, ({ shape, data }) => ({
        shape,
        data: data.map((x, i) => x - Math.sin(7 * k + i)),
      })),
    { client: names[k]!, examples: k + 1, round },
  ),
  overall,
});

const bits = (state: State): string => Buffer.from(encodeState(state)).toString('hex');

interface Case {
  readonly use: string;
  readonly options?: object;
  /** Options that halve what `train.rate` does not. */
  readonly half?: object;
}
const cases: Case[] = [
  ...methods.filter(({ name }) => name !== 'scaffold').map(({ name }) => ({ use: name })),
  { use: 'scaffold', options: { rate: 0.1 }, half: { rate: 0.05 } },
  { use: 'fedit', options: { local: { steps: 2 }, optimizerState: 'keep' } },
  { use: 'feddpa', options: { variant: 'F' } },
  { use: 'fedlora-optimizer', options: { schedule: 'interleaved', global: { rounds: 2 } } },
  {
    use: 'fedlora-optimizer',
    options: { globalData: 'localSteps', global: { rounds: 2, rate: 0.5 } },
    half: { globalData: 'localSteps', global: { rounds: 2, rate: 0.25 } },
  },
];

describe('a rate that falls over two rounds, 1 and ½', () => {
  // Fed-SB begins at the base model.
  it.each(cases)('is that of the settings, then half of it: $use $options', async ({ use, options = {}, half }) => {
    const [own, whole, second] = [
      stagesOf(use, options, falling),
      stagesOf(use, options, train),
      stagesOf(use, half ?? options, halved),
    ];
    let adapter =
      use === 'fed-sb'
        ? { layout, factors: mapTensors(start.factors, (one, key) => (key.endsWith('_B') ? zeros(one.shape) : one)) }
        : start;
    const mine = new Map<string, State>();
    const passed = new Map<string, number>();
    let [ended, halves]: [State | undefined, number] = [undefined, 0];
    for (const [i, stage] of own.entries()) {
      const rounds = roundsNamed(own, stage.name);
      let shared: State = begin(stage, adapter, names, ended);
      for (let round = 0; round < stage.rounds; round++) {
        const draw = passed.get(stage.name) ?? 0;
        passed.set(stage.name, draw + 1);
        const reference = (draw === 0 ? whole : second)[i]!;
        const clients = stage.participants === 'pooled' ? [0] : [0, 1, 2];
        const members = clients.map((k): Member => {
          const before = mine.get(names[k]!);
          return { kit: kitOf(k, round, { round: draw, rounds }), ...(before !== undefined && { mine: before }) };
        });
        for (const { kit, mine: before } of members) {
          const received = new Map([
            ...(stage.frozen?.(shared, round) ?? []),
            ...stage.broadcast(shared, kit.client, round),
          ]);
          const [a, b] = [
            await collect(stage.work(received, before, kit)),
            await collect(reference.work(received, before, kit)),
          ];
          expect(bits(a.result.update)).toBe(bits(b.result.update));
          expect(bits(a.result.mine)).toBe(bits(b.result.mine));
          if (draw === 0) continue;
          // It makes a difference.
          const plain = await collect(whole[i]!.work(received, before, kit));
          if (bits(plain.result.update) !== bits(a.result.update)) halves++;
        }
        const result = await oneRound(stage, shared, members, round);
        shared = result.shared;
        for (const [client, state] of result.mine) mine.set(client, state);
      }
      adapter = stage.models(shared)[0]!.adapter;
      ended = shared;
    }
    expect(halves > 0).toBe(use !== 'local-only');
  });
});

it('goes on where a run was left, with the same bits', async () => {
  const settings = { ...falling, batchSize: 2 };
  const [stages, still] = [settings, { ...settings, overRounds: undefined }].map((of) =>
    ditto.stages({ optimizerState: 'keep' }, contextOf(fake, { rounds: 4, train: of })),
  ) as [readonly Stage[], readonly Stage[]];
  const whole = await finished(run(journalIn(folder), { stages }));
  expect(whole.print).not.toBe((await finished(run(journalIn(folder), { stages: still }))).print);
  const journal = journalIn(folder, 'left.sqlite');
  const left = run(journal, { stages });
  for (;;) {
    const next = await left.next();
    if (next.done) throw new Error('left too late');
    if (next.value.kind === 'round done' && next.value.round === 1) break;
  }
  await left.return(undefined as never);
  journal.close();
  expect((await finished(run(journalIn(folder, 'left.sqlite'), { stages }))).print).toBe(whole.print);
});

describe('SCAFFOLD', () => {
  it('divides by the rates that were really used: of a constant gradient the variate is that gradient', async () => {
    const schedules = {
      ...train,
      schedule: 'cosine',
      warmup: 1,
      overRounds: { schedule: 'cosine', floor: 0.1 },
    } as const;
    const [stage] = scaffold.stages({ rate: 0.2 }, contextOf(layout, { rounds: 3, train: schedules }));
    const gradient = mapTensors(start.factors, ({ shape, data }) => ({ shape, data: data.map((_, i) => 1 + i) }));
    let shared = begin(stage!, start, ['c']) as ScaffoldState;
    let mine: State | undefined;
    for (const round of [0, 1, 2]) {
      const kit = exactKit(() => gradient, { client: 'c', round, rounds: 3 });
      const result = await oneRound(stage!, shared, [{ kit, ...(mine !== undefined && { mine }) }], round);
      shared = result.shared as ScaffoldState;
      mine = result.mine.get('c')!;
      near((mine as Variate).variate!, gradient);
      near(shared.variate, gradient);
    }
  });
});

function near(actual: Tensors, expected: Tensors): void {
  for (const [key, { data }] of expected)
    actual.get(key)!.data.forEach((x, i) => expect(x / data[i]!).toBeCloseTo(1, 4));
}

it('is left as it was where nothing is said, and where `constant` is', () => {
  const given = {
    batchSize: 1,
    accumulate: 1,
    rate: 1e-3,
    schedule: 'constant',
    warmup: 0,
    weightDecay: 0,
    clip: 1,
  } as const;
  expect(trainSettings(given)).not.toHaveProperty('overRounds');
  expect(trainSettings({ ...given, overRounds: 'constant' })).toEqual(trainSettings(given));
  expect(trainSettings({ ...given, overRounds: 'linear' }).overRounds).toEqual({ schedule: 'linear', floor: 0 });
  expect(trainSettings({ ...given, overRounds: 'cosine', floor: 0.1 }).overRounds).toEqual({
    schedule: 'cosine',
    floor: 0.1,
  });
});
