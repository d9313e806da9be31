import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { expect, test } from 'vitest';
import { planOf, PYTHON, seedOf, type FaultKind } from './plan.ts';
import { runScenario } from './scenario.ts';
import { seedsOf } from './series.ts';

const python = process.env['FEDLORA_PYTHON'];
const withPython =
  python === undefined ? ' (needs FEDLORA_PYTHON, a Python with examples/python-client/requirements.txt)' : '';

/** The first scenario of a series in which this befalls a run with a client in Python, and nothing else. */
const seedWith = (kind: FaultKind): number =>
  seedsOf(1, { from: 0, count: 2000, kinds: ['python'] }).find((seed) =>
    planOf(seed).faults.every((fault) => fault.kind === kind),
  )!;

test('a scenario with a client in Python kills that client, or the server', () => {
  const plans = Array.from({ length: 600 }, (_, k) => planOf(seedOf(3, k)));
  const some = plans.filter(({ runs }) => runs[0]!.setting === 'python');
  expect(some.length).toBeGreaterThan(20);
  for (const { runs, faults } of some) {
    expect(runs).toHaveLength(1);
    expect(runs[0]!.clients).toContain(PYTHON);
    expect(['server killed', 'client killed']).toContain(faults[0]!.kind);
    for (const fault of faults) if (fault.kind === 'client killed') expect(fault.who).toBe(PYTHON);
  }
  for (const kind of ['client killed', 'server killed'] as const)
    expect(some.filter(({ faults }) => faults[0]!.kind === kind).length, kind).toBeGreaterThan(5);
});

test.skipIf(python === undefined)(
  `with a client in Python that is killed, or whose server is, a federation ends, and what must hold holds${withPython}`,
  { timeout: 500_000 },
  async () => {
    const root = mkdtempSync(join(tmpdir(), 'fedlora-chaos-'));
    const ground = { root, main: resolve('dist/cli/main.js'), limit: 400, python };
    try {
      const seeds = [seedWith('client killed'), seedWith('server killed')];
      const results = await Promise.all(seeds.map((seed) => runScenario(planOf(seed), ground)));
      for (const { seed, problems, outcome, counts } of results) {
        expect(problems, `scenario ${seed}`).toEqual([]);
        expect(outcome).toBe('finished');
        expect(counts.kills).toBeGreaterThan(0);
      }
    } finally {
      rmSync(root, { recursive: true, force: true });
    }
  },
);
