import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { RoundRecord } from '../../src/federation/events.ts';
import type { UpdateMessage } from '../../src/federation/http/protocol.ts';
import { tensor } from '../../src/tensor/tensors.ts';
import { forged, lost } from './check.ts';
import type { Evidence } from './evidence.ts';
import { averaged } from './plain.ts';
import { faultKinds, MALLORY, planOf, seedOf } from './plan.ts';
import { runScenario, type Result } from './scenario.ts';
import { nothingSeen, type Seen } from './seen.ts';
import { markdown, rows } from './table.ts';
import { mischiefs } from './wire.ts';

// All of one run, so that it is simulated once: strangers, damage and repetition on the wire; a full disk and a killed client; a killed
// server, damage on its disk and a bad client; a server killed twice, throttled and out of order.
const short = [100041, 100054, 100058, 100114];

test(
  'scenarios of real processes end, or stop with a reason, and what must hold holds',
  { timeout: 400_000 },
  async () => {
    const root = mkdtempSync(join(tmpdir(), 'fedlora-chaos-'));
    const ground = { root, main: resolve('dist/cli/main.js'), limit: 300 };
    try {
      for (const half of [short.slice(0, 2), short.slice(2)]) {
        const results = await Promise.all(half.map((seed) => runScenario(planOf(seed), ground)));
        for (const result of results) expect(result.problems, `scenario ${result.seed}`).toEqual([]);
        expect(results.every(({ counts }) => counts.acknowledged > 0)).toBe(true);
      }
    } finally {
      rmSync(root, { recursive: true, force: true });
    }
  },
);

describe('a plan', () => {
  test('follows from its seed, and a series has every fault', () => {
    const plans = Array.from({ length: faultKinds.length }, (_, k) => planOf(seedOf(1, k)));
    expect(plans).toEqual(Array.from({ length: faultKinds.length }, (_, k) => planOf(seedOf(1, k))));
    for (const kind of faultKinds)
      expect(
        plans.some(({ faults }) => faults[0]!.kind === kind),
        kind,
      ).toBe(true);
  });

  test('strikes about as many requests as it says, the same ones each time', () => {
    const strike = (): string[] => {
      const one = mischiefs(7, 'aurora', [{ kind: 'cut', share: 0.4 }]);
      return Array.from({ length: 1000 }, (_, n) => JSON.stringify(one(n, 'update')));
    };
    const struck = strike().filter((text) => text.includes('cut'));
    expect(strike()).toEqual(strike());
    expect(struck.length).toBeGreaterThan(340);
    expect(struck.length).toBeLessThan(460);
  });
});

test('averaging by hand is the closed form', () => {
  const start = new Map([['x', tensor([2], [1, 2])]]);
  const update = (...data: number[]) => new Map([['x', tensor([2], data)]]);
  const rounds = [
    [
      { update: update(1, 0), weight: 1 },
      { update: update(0, 4), weight: 3 },
    ],
    [{ update: update(0.5, 0.5), weight: 2 }],
  ];
  expect([...averaged(start, rounds).get('x')!.data]).toEqual([1 + 0.25 + 0.5, 2 + 3 + 0.5]);
});

describe('what must hold', () => {
  const place = { method: 'fedit', stage: 'federated', stageIndex: 0 };
  const message: UpdateMessage = {
    digest: null,
    weight: 2,
    seconds: 1,
    totals: { step: 1, steps: 1, tokens: 3, processed: 4, lossSum: 5 },
  };
  const record = (participants: readonly string[], leftOut: RoundRecord['leftOut'] = []): RoundRecord => ({
    round: 0,
    participants,
    leftOut,
    trainLoss: 1,
    tokens: 3,
    processed: 4,
    up: 0,
    down: 0,
    seconds: 1,
    clientSeconds: 1,
  });
  const left = (round: RoundRecord | undefined, received: UpdateMessage | undefined = message): Evidence => ({
    tasks: [{ id: 't', client: 'aurora', place, round: 0, message: received }],
    places: [{ ...place, planned: 1 }],
    rounds: () => (round === undefined ? [] : [round]),
    journal: undefined as never,
    close: () => undefined,
  });
  const seen = (): Seen => ({
    ...nothingSeen(),
    sent: new Map([['t', [{ client: 'aurora', message }]]]),
    acknowledged: [{ client: 'aurora', task: 't', message }],
  });

  test('an acknowledged update that does not count is found, whatever became of it', () => {
    expect(lost(left(record(['aurora'])), seen(), '')).toEqual([]);
    expect(lost(left(record([], [{ client: 'aurora', reason: 'late' }])), seen(), '')).toEqual([
      'aurora: its update of round 1 of fedit · federated was acknowledged and does not count (late)',
    ]);
    expect(lost(left(undefined), seen(), '')).toEqual([]);
    const other = { ...message, digest: '0'.repeat(64) };
    expect(lost(left(undefined, other), seen(), '')[0]).toContain('is not in the server');
    const gone = { ...seen(), acknowledged: [{ client: 'aurora', task: 't', message: other }] };
    expect(lost(left(undefined, other), gone, '/nowhere')[0]).toContain('gone or damaged');
    expect(lost({ ...left(record(['aurora'])), tasks: [] }, seen(), '')[0]).toContain('no record of task t');
  });

  test('an update that its client never sent is found where it counts', () => {
    expect(forged(left(record(['aurora'])), seen())).toEqual([]);
    expect(forged(left(record(['aurora']), { ...message, weight: 9 }), seen())).toEqual([
      'aurora: what counts in round 1 of fedit · federated was never sent by it',
    ]);
    expect(forged(left(record([MALLORY])), seen())[0]).toContain(MALLORY);
  });
});

test('the table counts a scenario in the row of each of its faults', () => {
  const result = (outcome: Result['outcome'], ...faults: Result['faults']): Result => ({
    seed: 1,
    setting: 'fedit',
    faults,
    outcome,
    reason: '',
    problems: [],
    counts: { kills: 0, acknowledged: 0, leftOut: 0, hostile: 0 },
    seconds: 1,
  });
  const results = [result('finished', 'cut', 'delayed'), result('stopped', 'cut')];
  expect(rows(results).filter(({ scenarios }) => scenarios > 0)).toEqual([
    { fault: 'cut', scenarios: 2, finished: 1, stopped: 1, failed: 0 },
    { fault: 'delayed', scenarios: 1, finished: 1, stopped: 0, failed: 0 },
    { fault: 'all', scenarios: 2, finished: 1, stopped: 1, failed: 0 },
  ]);
  expect(markdown(results)).toContain('| cut | 2 | 1 | 1 | 0 |');
});
