import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { contents, embeddedModel, embeddedTasks, workspace } from '../../tests/support/workspace.ts';
import type { SweepInput } from '../config/sweep-schema.ts';
import { UserError } from '../errors.ts';
import { defineMethod } from '../methods/method.ts';
import { fedit } from '../methods/fedit.ts';
import { run } from '../run/run.ts';
import type { SweepResults } from './results.ts';
import { sweep, type SweepEvent } from './sweep.ts';

const base = {
  model: { path: embeddedModel },
  data: { path: embeddedTasks, format: 'jsonl', template: 'plain', maxLength: 96 },
  clients: { partition: 'column', column: 'client', count: 2, limit: 16, split: { validation: 2, test: 3 } },
  lora: { rank: 2, alpha: 4 },
  rounds: { count: 3 },
  train: { batchSize: 2, steps: 2, rate: 1e-3 },
  runtime: { threads: 1 },
};

const small: SweepInput = {
  base,
  seeds: [1, 2],
  baseline: 'FedIT',
  arms: [
    { use: 'fedit', label: 'FedIT' },
    { use: 'fedit', label: 'FedIT + local', rounds: 2, local: { steps: 2 } },
    { use: 'local-only', label: 'local only', run: { train: { rate: 3e-3 } } },
  ],
};

/** Without what is measured of a process. */
const timeless = (results: SweepResults): unknown =>
  JSON.parse(JSON.stringify(results), (key, value: unknown) =>
    ['seconds', 'peakMemory'].includes(key) ? undefined : value,
  );

const stepsUnder = (folder: string): number =>
  [...contents(folder)]
    .filter(([name]) => name.endsWith('metrics.jsonl'))
    .reduce((sum, [, text]) => sum + text.toString().split('"kind":"step"').length - 1, 0);

/** Runs that were computed, not found done. */
function computed(events: readonly SweepEvent[]): string[] {
  const known = new Set(events.flatMap((event) => (event.kind === 'planned' ? event.known : [])));
  return events.flatMap((event) =>
    event.kind === 'cell started' && !known.has(event.cell) ? [`${event.cell.arm} ${event.cell.seed}`] : [],
  );
}

async function told(given: SweepInput | string, out: string): Promise<{ results: SweepResults; events: SweepEvent[] }> {
  const events: SweepEvent[] = [];
  return { results: await sweep(given, { out, onEvent: (event) => events.push(event) }), events };
}

describe('a sweep', () => {
  test('gives each arm and seed what its run gives alone, computing what is shared once', async () => {
    using folder = workspace();
    const { results, events } = await told(small, folder.at('out'));
    expect(computed(events)).toHaveLength(6);
    expect(results.cells.map(({ arm, seed }) => [arm, seed])).toEqual(
      [1, 2].flatMap((seed) => small.arms.map(({ label }) => [label, seed])),
    );
    for (const [i, { label, run: own, ...method }] of small.arms.entries()) {
      const train = { ...base.train, ...(own?.['train'] as object | undefined) };
      const config = { ...base, train, methods: [{ ...method, label: label! }], seed: 2 } as Parameters<typeof run>[0];
      const alone = await run(config, { out: folder.at(label!), report: false });
      const cell = results.cells[3 + i]!;
      expect(timeless({ ...results, cells: [cell] })).toEqual(
        timeless({ ...results, cells: [{ ...cell, method: alone.methods[0]!, base: alone.base }] }),
      );
    }
    expect(results.cells[0]!.curve.map(({ round, stage }) => [round, stage])).toEqual(
      [1, 2, 3].map((r) => [r, 'federated']),
    );
    // Two clients, two steps: FedIT + local has 2 rounds and its own 2 steps, FedIT one round more, local-only 3 rounds' worth.
    expect(stepsUnder(folder.at('out', 'runs', 'seed-1'))).toBe(8 + 4 + 4 + 12);
    const there = JSON.parse(readFileSync(folder.at('out', 'results.json'), 'utf8')) as unknown;
    expect(there).toEqual(JSON.parse(JSON.stringify(results)));
    expect(readFileSync(folder.at('out', 'results.csv'), 'utf8')).toContain('FedIT + local,fedit,2,');
    expect(readFileSync(folder.at('out', 'stages.csv'), 'utf8')).toContain('FedIT + local,fedit,2,2,local,1,');
    expect(readFileSync(folder.at('out', 'report.html'), 'utf8')).toContain('</html>');
  });

  test('computes only what is missing once it is edited, and takes a changed arm for another', async () => {
    using folder = workspace();
    const out = folder.at('out');
    const { results: first } = await told({ ...small, seeds: [1] }, out);
    const more = { ...small, arms: [...small.arms, { use: 'fedprox', label: 'prox' }] };
    const { results, events } = await told(more, out);
    expect(computed(events).sort()).toEqual(['FedIT 2', 'FedIT + local 2', 'local only 2', 'prox 1', 'prox 2'].sort());
    expect(results.cells.filter(({ seed, arm }) => seed === 1 && arm !== 'prox')).toEqual(first.cells);

    const changed = { ...more, arms: more.arms.map((arm) => (arm.use === 'fedprox' ? { ...arm, mu: 1 } : arm)) };
    const again = await told(changed, out);
    expect(computed(again.events)).toEqual(['prox 1', 'prox 2']);
    const losses = ({ cells }: SweepResults): number[] =>
      cells.filter(({ arm }) => arm === 'prox').map(({ method }) => method.global.micro.loss);
    expect(losses(again.results)).not.toEqual(losses(results));
    expect(again.results.arms.at(-1)!.options).toMatchObject({ mu: 1 });
    // Back again: what was computed then still stands.
    const back = await told(more, out);
    expect(computed(back.events)).toEqual([]);
    expect(back.results).toEqual(results);
  });

  test('has data of its own for each seed, where its path says so', async () => {
    using folder = workspace();
    const rows = readFileSync(embeddedTasks, 'utf8').trimEnd().split('\n');
    writeFileSync(folder.at('rows-1.jsonl'), rows.join('\n'));
    writeFileSync(folder.at('rows-2.jsonl'), rows.toReversed().join('\n'));
    const own = { ...base, data: { ...base.data, path: folder.at('rows-{seed}.jsonl') } };
    const { results } = await told({ ...small, base: own, arms: [small.arms[0]!] }, folder.at('out'));
    expect(results.cells.map(({ base: { micro } }) => micro.rows)).toEqual([6, 6]);
    // The file of a seed changes, and an arm is added: what was computed before is of other rows.
    writeFileSync(folder.at('rows-2.jsonl'), rows.toReversed().slice(0, -40).join('\n'));
    const mixed = told({ ...small, base: own, arms: small.arms.slice(0, 2) }, folder.at('out'));
    await expect(mixed).rejects.toThrow(/^the data changed between the runs in .*seed-2[^]*which cannot be compared/);
    // Never of both.
    const kept = JSON.parse(readFileSync(folder.at('out', 'results.json'), 'utf8')) as SweepResults;
    expect(kept.cells.filter(({ seed }) => seed === 2)).toHaveLength(1);
    const missing = told({ ...small, base: own, seeds: [1, 3] }, folder.at('other'));
    await expect(missing).rejects.toThrow(/rows-3\.jsonl/);
  });

  test('chooses no values by tries on rows that changed between them', async () => {
    using folder = workspace();
    const rows = readFileSync(embeddedTasks, 'utf8').trimEnd().split('\n');
    const path = folder.at('rows.jsonl');
    const tuned = (tries: number[]): SweepInput => ({
      ...small,
      base: { ...base, data: { ...base.data, path } },
      seeds: [1],
      tuning: { seeds: [7], unequal: true },
      arms: [{ ...small.arms[0]!, tune: { 'run.train.rate': tries } }],
    });
    writeFileSync(path, rows.join('\n'));
    await told(tuned([1e-3]), folder.at('out'));
    writeFileSync(path, rows.toReversed().join('\n'));
    const mixed = told(tuned([1e-3, 3e-3]), folder.at('out'));
    await expect(mixed).rejects.toThrow(/^the data changed between the runs in .*tuning.*which cannot be compared/);
  });

  test('chooses values on validation rows, with what was chosen before, and says what was tried', async () => {
    using folder = workspace();
    const [first] = small.arms;
    const tuned: SweepInput = {
      ...small,
      seeds: [1],
      tuning: { seeds: [7, 8], unequal: true },
      arms: [first!, { ...small.arms[1]!, tune: [{ 'run.train.rate': [1e-4, 3e-3] }, { 'local.rate': [1e-2, 1e-9] }] }],
    };
    const { results, events } = await told(tuned, folder.at('out'));
    const [none, arm] = results.arms;
    expect(none!.tried).toEqual([]);
    const losses = arm!.tried.map(({ validationLoss }) => validationLoss);
    const [rate, local] = [losses[0]! <= losses[1]! ? 1e-4 : 3e-3, losses[2]! <= losses[3]! ? 1e-2 : 1e-9];
    expect(arm!.tried.map(({ options, seeds }) => [options, seeds])).toEqual([
      [{ 'run.train.rate': 1e-4 }, [7, 8]],
      [{ 'run.train.rate': 3e-3 }, [7, 8]],
      [{ 'run.train.rate': rate, 'local.rate': 1e-2 }, [7, 8]],
      [{ 'run.train.rate': rate, 'local.rate': 1e-9 }, [7, 8]],
    ]);
    expect(arm).toMatchObject({ options: { local: { rate: local } }, run: { train: { rate } } });
    expect(events.filter(({ kind }) => kind === 'tuned')).toEqual([
      {
        kind: 'tuned',
        arm: 'FedIT + local',
        tried: arm!.tried,
        chosen: { 'run.train.rate': rate, 'local.rate': local },
      },
    ]);
    // What decided: the mean over seeds and clients of the personal models' loss on two validation rows each.
    const alone = await Promise.all(
      [7, 8].map(async (seed) => {
        const method = { use: 'fedit', label: 'x', rounds: 2, local: { steps: 2, rate: 1e-2 } };
        const config = { ...base, train: { ...base.train, rate }, methods: [method], seed } as Parameters<
          typeof run
        >[0];
        const summary = await run(config, { out: folder.at(`${seed}`), report: false, scoreOn: 'validation' });
        expect(Object.values(summary.base.clients).map(({ rows }) => rows)).toEqual([2, 2]);
        return summary.methods[0]!.personal!.macro.loss;
      }),
    );
    expect(losses[2]).toBeCloseTo((alone[0]! + alone[1]!) / 2, 12);
  });

  test('goes on past a run whose rounds fail, and names it in the end', async () => {
    using folder = workspace();
    const broken = defineMethod({
      ...fedit,
      name: 'broken',
      options: fedit.options,
      stages: (options, context) =>
        fedit.stages(options, context).map((stage) => ({
          ...stage,
          // eslint-disable-next-line require-yield
          async *work() {
            throw new Error('out of luck');
          },
        })),
    });
    const arms = [{ use: 'broken', label: 'broken' }, small.arms[0]!];
    const failing = sweep({ ...small, seeds: [1], arms }, { out: folder.at('out'), methods: [broken] });
    await expect(failing).rejects.toThrow(
      /^1 of 2 runs failed; the others are done[^]*broken, seed 1: round 1 of 3[^]*out of luck/,
    );
    const { cells } = JSON.parse(readFileSync(folder.at('out', 'results.json'), 'utf8')) as SweepResults;
    expect(cells.map(({ arm }) => arm)).toEqual(['FedIT']);
    const tuned = { ...arms[0]!, tune: { 'run.train.rate': [1e-3] } };
    const tuning = sweep(
      { ...small, seeds: [1], baseline: 'broken', tuning: { seeds: [7] }, arms: [tuned] },
      { out: folder.at('tuned'), methods: [broken] },
    );
    await expect(tuning).rejects.toThrow(
      /^every value in the `tune` of broken failed[^]*lower rates for one\.\n {2}broken, run\.train\.rate 0\.001, seed 7: round 1/,
    );
  });

  test('does not choose a value with which training diverges, and says so', async () => {
    using folder = workspace();
    const tune = { 'run.train.rate': [1e-3, 1e38] };
    const arm = { ...small.arms[0]!, tune };
    const { results, events } = await told(
      { ...small, seeds: [1], tuning: { seeds: [7] }, arms: [arm] },
      folder.at('out'),
    );
    const [good, bad] = results.arms[0]!.tried;
    expect(good!.validationLoss).toBeGreaterThan(0);
    expect(bad).toMatchObject({
      validationLoss: null,
      failed: expect.stringMatching(/the loss is NaN in step 2/) as string,
    });
    expect(results.arms[0]!.run).toMatchObject({ train: { rate: 1e-3 } });
    expect(events.filter(({ kind }) => kind === 'cell failed')).toHaveLength(1);
    expect(readFileSync(folder.at('out', 'results.md'), 'utf8')).toMatch(/1e\+38.*failed: /);
  });

  test('refuses an arm that cannot be before the first run', async () => {
    using folder = workspace();
    const refusals: [SweepInput['arms'][number], RegExp][] = [
      [{ use: 'scaffold', label: 'late', run: { guards: [{ use: 'clip', norm: 1 }] } }, /^late: .*or no guards$/],
      [
        { use: 'fedlora-optimizer', label: 'late', order: 'local-first', schedule: 'interleaved' },
        /^late: fedlora-optimizer: `order: local-first` needs/,
      ],
    ];
    for (const [arm, why] of refusals) {
      const events: SweepEvent[] = [];
      const arms = [small.arms[0]!, arm];
      const refused = sweep({ ...small, arms }, { out: folder.at('out'), onEvent: (event) => events.push(event) });
      await expect(refused).rejects.toThrow(why);
      expect(computed(events)).toEqual([]);
    }
  });

  test('takes no file for a folder', async () => {
    using folder = workspace();
    writeFileSync(folder.at('file'), 'mine');
    for (const out of [folder.at('file'), folder.at('file/below')])
      await expect(sweep(small, { out })).rejects.toBeInstanceOf(UserError);
    expect(readFileSync(folder.at('file'), 'utf8')).toBe('mine');
  });

  test('leaves a folder alone that holds something else', async () => {
    using folder = workspace();
    mkdirSync(folder.at('out'));
    writeFileSync(folder.at('out', 'letter.txt'), 'mine');
    await expect(sweep(small, { out: folder.at('out') })).rejects.toThrow(/is not empty and holds no sweep/);
    expect(readdirSync(folder.at('out'))).toEqual(['letter.txt']);
    expect(existsSync(folder.at('out', 'sweep.sqlite'))).toBe(false);
  });
});
