import { array, assert, constantFrom, double, property } from 'fast-check';
import { describe, expect, it } from 'vitest';
import { sweepFixture } from '../../tests/sweep-fixture.ts';
import type { Score } from '../report/summary.ts';
import { analyseSweep, type Metric, type ModelKind } from './compare-arms.ts';
import type { SweepCell, SweepResults } from './results.ts';

/** Losses of one arm: per seed, per client. */
type Losses = Readonly<Record<number, Readonly<Record<string, number>>>>;

const score = (loss: number): Score => ({
  loss,
  perplexity: Math.exp(loss),
  tokenAccuracy: 1 - loss / 10,
  tokens: 10,
  rows: 2,
});

/** Arms whose global models have these losses. */
function sweepOf(arms: Readonly<Record<string, Losses>>, baseline = 'base arm'): SweepResults {
  const [template] = sweepFixture({ methods: 1, clients: 2, seeds: [1], tuned: false }).cells;
  const { personal: _, ...method } = template!.method;
  const cells = Object.entries(arms).flatMap(([arm, seeds]) =>
    Object.entries(seeds).map(([seed, losses]): SweepCell => {
      const clients = Object.fromEntries(Object.entries(losses).map(([id, loss]) => [id, score(loss)]));
      return {
        ...template!,
        arm,
        seed: Number(seed),
        method: { ...method, label: arm, global: { ...method.global, clients } },
      };
    }),
  );
  return {
    baseline,
    seeds: [...new Set(cells.map(({ seed }) => seed))],
    arms: Object.keys(arms).map((label) => ({ label, use: 'fedit', options: {}, tried: [] })),
    cells,
  };
}

/** One client, a seed a value. */
const single = (values: readonly number[]): Losses => Object.fromEntries(values.map((loss, i) => [i + 1, { a: loss }]));

const found = (results: SweepResults, model: ModelKind = 'global', metric: Metric = 'loss') =>
  analyseSweep(results).comparisons.find((one) => one.model === model && one.metric === metric)!;

const base = [1.31, 1.28, 1.35, 1.3, 1.27];
const arms = {
  'base arm': single(base),
  A: single([1.22, 1.25, 1.24, 1.26, 1.19]),
  B: single([1.33, 1.27, 1.36, 1.28, 1.3]),
  C: single([1.25, 1.26, 1.3, 1.28, 1.26]),
};

describe('differences over seeds', () => {
  it('have the interval, p and correction that scipy and statsmodels give', () => {
    // python3 -c "from scipy.stats import ttest_rel; r = ttest_rel(ARM, BASE); print(r.pvalue, r.confidence_interval(.95))"
    // and multipletests([the three p-values], method='holm')[1] of statsmodels.stats.multitest.
    const { differences } = found(sweepOf(arms));
    const expected = [
      ['A', -0.11210687481992304, -0.027893125180077076, 0.009913345193658305, 0.029740035580974915, 'better'],
      ['B', -0.019747692679290788, 0.0317476926792908, 0.552889433933417, 0.552889433933417, 'undecided'],
      ['C', -0.05891863402337906, -0.005081365976620993, 0.0299180522127316, 0.0598361044254632, 'undecided'],
    ] as const;
    expect(differences.length).toBe(3);
    for (const [i, [label, low, high, p, corrected, verdict]] of expected.entries()) {
      const one = differences[i]!;
      expect(one).toMatchObject({ label, verdict, seeds: [1, 2, 3, 4, 5] });
      expect(one.overSeeds!.low).toBeCloseTo(low, 10);
      expect(one.overSeeds!.high).toBeCloseTo(high, 10);
      expect(one.overSeeds!.p).toBeCloseTo(p, 10);
      expect(one.holm).toBeCloseTo(corrected, 10);
    }
    // C's own interval leaves out 0: only the correction keeps it from being a claim.
    expect(differences[2]!.overSeeds!.high).toBeLessThan(0);
  });

  it('give shares the other side: a lower token accuracy is worse', () => {
    const [a] = found(sweepOf({ 'base arm': arms['base arm'], A: arms.A }), 'global', 'tokenAccuracy').differences;
    expect(a).toMatchObject({ verdict: 'better' });
    expect(a!.mean).toBeGreaterThan(0);
    const [worse] = found(sweepOf({ 'base arm': arms.A, A: arms['base arm'] }), 'global', 'tokenAccuracy').differences;
    expect(worse).toMatchObject({ verdict: 'worse' });
  });

  it('are descriptive with two or three seeds, and without an interval with one', () => {
    const first = (n: number) =>
      sweepOf({ 'base arm': single(base.slice(0, n)), A: single([0.5, 0.49, 0.51, 0.5].slice(0, n)) });
    expect(found(first(4)).differences[0]!.verdict).toBe('better');
    for (const n of [2, 3]) expect(found(first(n)).differences[0]!.verdict).toBe('descriptive');
    const [one] = found(first(1)).differences;
    expect(one).toMatchObject({ verdict: 'unmeasured', overSeeds: undefined, holm: undefined });
    expect(one!.mean).toBeCloseTo(-0.81, 12);
    expect(found(first(1)).values[0]!.sd).toBeUndefined();
  });

  it('pair only seeds and clients that both have', () => {
    const { differences, values } = found(
      sweepOf({
        'base arm': { 1: { a: 1, b: 2 }, 2: { a: 3, b: 4 }, 4: { a: 9, b: 9 } },
        A: { 1: { a: 2, c: 50 }, 2: { a: 3, b: 7 }, 3: { a: 0, b: 0 } },
      }),
    );
    expect(differences[0]).toMatchObject({
      seeds: [1, 2],
      perSeed: [1, 1.5],
      perClient: [
        { client: 'a', value: 0.5 },
        { client: 'b', value: 3 },
      ],
    });
    expect(values[1]).toMatchObject({ seeds: [1, 2, 3], perSeed: [26, 5, 0] });
  });

  it('do not hang on a shift of all arms by seed, and turn their sign with the baseline', () => {
    const list = array(double({ min: 0.1, max: 5, noNaN: true }), { minLength: 5, maxLength: 5 });
    assert(
      property(list, list, list, constantFrom(1, -1), (a, b, shift, sign) => {
        const plus = (values: readonly number[]) => single(values.map((value, i) => value + 6 + sign * shift[i]!));
        const plain = found(sweepOf({ 'base arm': single(a), B: single(b) })).differences[0]!;
        const shifted = found(sweepOf({ 'base arm': plus(a), B: plus(b) })).differences[0]!;
        const turned = found(sweepOf({ 'base arm': single(a), B: single(b) }, 'B')).differences[0]!;
        expect(shifted.mean).toBeCloseTo(plain.mean, 9);
        expect(shifted.overSeeds!.low).toBeCloseTo(plain.overSeeds!.low, 9);
        expect(turned.mean).toBeCloseTo(-plain.mean, 12);
        expect(turned.overSeeds!.low).toBeCloseTo(-plain.overSeeds!.high, 9);
      }),
      { numRuns: 30 },
    );
  });
});

describe('differences over clients', () => {
  const flat = (value: (client: number, seed: number) => number, clients = 6): Losses =>
    Object.fromEntries(
      [1, 2, 3, 4].map((seed) => [
        seed,
        Object.fromEntries(Array.from({ length: clients }, (_, i) => [`c${i}`, value(i, seed)])),
      ]),
    );

  it('have no width where every client gains the same, however far clients lie apart', () => {
    const { overClients } = found(sweepOf({ 'base arm': flat((i) => 1 + i), A: flat((i) => 0.5 + i) })).differences[0]!;
    expect(overClients).toMatchObject({ value: -0.5, low: -0.5, high: -0.5 });
  });

  it('do not shrink with more seeds, as an interval over seeds does', () => {
    // Half of the clients gain, half lose, the same in every seed: certain over seeds, uncertain over clients.
    const { overSeeds, overClients } = found(
      sweepOf({ 'base arm': flat(() => 1), A: flat((i, seed) => 1 + (i < 3 ? -0.4 : 0.2) + 0.001 * (seed % 2)) }),
    ).differences[0]!;
    expect(overSeeds!.high - overSeeds!.low).toBeLessThan(0.01);
    // Of 6 draws with replacement the mean lies in −0.4 … 0.2; its standard error is 0.3/√6 = 0.122.
    expect(overClients!.error).toBeCloseTo(0.3 / Math.sqrt(6), 2);
    expect(overClients!.low).toBeLessThan(-0.29);
    expect(overClients!.high).toBeGreaterThan(0.09);
  });

  it('need two clients, and repeat', () => {
    const results = sweepOf({ 'base arm': flat(() => 1, 1), A: flat(() => 2, 1) });
    expect(found(results).differences[0]!.overClients).toBeUndefined();
    expect(analyseSweep(sweepFixture())).toEqual(analyseSweep(sweepFixture()));
  });
});

describe('what is compared', () => {
  it('is the global model only where clients shared one, and the own model of every arm', () => {
    const results = sweepFixture({ methods: 4 });
    const labels = (model: ModelKind) => found(results, model).values.map(({ label }) => label);
    expect(labels('global')).toEqual(['FedLoRA-Optimizer', 'FedIT', 'FedIT + local']);
    expect(labels('personal')).toEqual(['FedLoRA-Optimizer', 'FedIT', 'FedIT + local', 'local only']);
    const fedit = results.cells.filter(({ arm }) => arm === 'FedIT');
    const own = found(results, 'personal').values.find(({ label }) => label === 'FedIT')!;
    for (const [i, { method }] of fedit.entries()) expect(own.perSeed[i]).toBeCloseTo(method.global.macro.loss, 12);
  });

  it('has no differences where the baseline has no such model', () => {
    const results = { ...sweepFixture({ methods: 4 }), baseline: 'local only' };
    expect(found(results, 'global')).toMatchObject({ differences: [] });
    expect(found(results, 'personal').differences.length).toBe(3);
  });

  it('leaves out what is not done yet', () => {
    const results = sweepFixture({ methods: 3 });
    const partly = { ...results, cells: results.cells.filter(({ arm, seed }) => arm !== 'FedIT + local' && seed < 3) };
    expect(found(partly).values.map(({ label }) => label)).toEqual(['FedLoRA-Optimizer', 'FedIT']);
    expect(found(partly).differences[0]).toMatchObject({ seeds: [1, 2], verdict: 'descriptive' });
    expect(analyseSweep({ ...results, cells: [] }).comparisons).toEqual([]);
  });

  it('refuses a baseline that is no arm, and two results of one arm and seed', () => {
    const results = sweepFixture({ methods: 2 });
    expect(() => analyseSweep({ ...results, baseline: 'x' })).toThrow('none of the arms FedLoRA-Optimizer, FedIT');
    expect(() => analyseSweep({ ...results, cells: [...results.cells, results.cells[0]!] })).toThrow(
      'two results with seed 1',
    );
  });
});
