import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { RoundRecord } from '../../src/federation/events.ts';
import type { TrainMessage, UpdateMessage } from '../../src/federation/http/protocol.ts';
import { toPayload } from '../../src/federation/http/payload.ts';
import { tensor } from '../../src/tensor/tensors.ts';
import { broadcastTwice, forged, lost, mistold } from './check.ts';
import type { Evidence } from './evidence.ts';
import { averaged, middle } from './plain.ts';
import { faultKinds, MALLORY, planOf, processOf, seedOf } from './plan.ts';
import { unprivate } from './private.ts';
import { runScenario, type Result } from './scenario.ts';
import { nothingSeen, type Seen } from './seen.ts';
import { seedsOf } from './series.ts';
import { isPoisoned, settings } from './settings.ts';
import { markdown, rows } from './table.ts';
import { mischiefs } from './wire.ts';

// Over TLS both databases of a server gone, while a bad client's updates count under a robust rule; half a backup put back, and then
// all of it, over WebSockets, with a killed server, killed clients and damage on the wire; a private run under masks over TLS, whose server is killed
// in the middle of a sum; over TLS strangers, damage on the disk, jumping clocks and a full disk; and a client that
// has lost its folder with an adapter of its own in it.
const short = [100399, 101369, 101209, 110186, 100214];

test(
  'scenarios of real processes end, or stop with a reason, and what must hold holds',
  { timeout: 400_000 },
  async () => {
    const root = mkdtempSync(join(tmpdir(), 'fedlora-chaos-'));
    const ground = { root, main: resolve('dist/cli/main.js'), limit: 300 };
    try {
      // All at once: each waits for much of its time.
      const results = await Promise.all(short.map((seed) => runScenario(planOf(seed), ground)));
      for (const result of results) expect(result.problems, `scenario ${result.seed}`).toEqual([]);
      expect(results.every(({ counts }) => counts.acknowledged > 0)).toBe(true);
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
    const many = Array.from({ length: 300 }, (_, k) => planOf(seedOf(1, k)));
    const first = new Set(many.map(({ runs }) => runs[0]!.setting));
    expect([...first].sort()).toEqual(Object.keys(settings).sort());
    expect(many.filter(({ sockets }) => sockets).length).toBeGreaterThan(100);
    const several = many.filter(({ runs }) => runs.length === 2);
    expect(several.length).toBeGreaterThan(30);
    for (const { runs, faults } of several) {
      expect(runs.map(({ name }) => name)).toEqual(['one', 'two']);
      const processes = runs.flatMap((run) => run.clients.map((client) => processOf(run, client)));
      expect(new Set(processes).size).toBe(processes.length);
      for (const fault of faults) if ('who' in fault) expect(['server', ...processes]).toContain(fault.who);
    }
  });

  test('has a bad client wherever a robust rule is to bear one, and TLS in a third', () => {
    const many = Array.from({ length: 300 }, (_, k) => planOf(seedOf(2, k)));
    for (const { runs, faults } of many.filter((plan) => isPoisoned(plan.runs[0]!.setting)))
      expect(
        faults.filter(({ kind }) => kind === 'bad client'),
        runs[0]!.setting,
      ).toHaveLength(1);
    const encrypted = many.filter(({ tls }) => tls).length;
    expect(encrypted).toBeGreaterThan(70);
    expect(encrypted).toBeLessThan(130);
    const kinds = ['masked', 'median'] as const;
    const seeds = seedsOf(2, { from: 10, count: 100, kinds });
    expect(seeds.length).toBeGreaterThan(2);
    for (const seed of seeds) expect(kinds).toContain(planOf(seed).runs[0]!.setting);
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
  const odd = [[-9, 1, 4].map((value) => ({ update: update(value, 0), weight: 5 }))];
  expect([...averaged(start, odd, middle).get('x')!.data]).toEqual([1 + 1, 2]);
  expect(middle([8, 2, 4, 900], [])).toEqual([24, 4]);
});

describe('what must hold', () => {
  const place = { method: 'fedit', stage: 'federated', stageIndex: 0 };
  const message: UpdateMessage = {
    digest: null,
    weight: 2,
    seconds: 1,
    totals: { step: 1, steps: 1, tokens: 3, processed: 4, lossSum: 5 },
  };
  const begun = (id: string, digest: string): TrainMessage & { readonly client: string } => ({
    kind: 'train',
    id,
    client: 'aurora',
    place,
    round: 0,
    draw: 0,
    frozen: [],
    sent: { digest, size: 1 },
  });
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
    examples: new Map(),
    events: [],
    close: () => undefined,
  });
  const seen = (): Seen => ({
    ...nothingSeen(),
    sent: new Map([['t', [{ client: 'aurora', message }]]]),
    acknowledged: [{ client: 'aurora', task: 't', message }],
  });

  test('an acknowledged update that does not count is found, whatever became of it', () => {
    expect(lost(left(record(['aurora'])), seen(), '', 'fedit')).toEqual([]);
    expect(lost(left(record([], [{ client: 'aurora', reason: 'late' }])), seen(), '', 'fedit')).toEqual([
      'aurora: its update of round 1 of fedit · federated was acknowledged and does not count (late)',
    ]);
    expect(lost(left(undefined), seen(), '', 'fedit')).toEqual([]);
    const other = { ...message, digest: '0'.repeat(64) };
    expect(lost(left(undefined, other), seen(), '', 'fedit')[0]).toContain('is not in the server');
    const gone = { ...seen(), acknowledged: [{ client: 'aurora', task: 't', message: other }] };
    expect(lost(left(undefined, other), gone, '/nowhere', 'fedit')[0]).toContain('gone or damaged');
    expect(lost({ ...left(record(['aurora'])), tasks: [] }, seen(), '', 'fedit')[0]).toContain('no record of task t');
  });

  test('who came after enough others, or left a sum, need not count, where the run is of that kind', () => {
    const late = 'came after the 2 updates that the round needed';
    const without = (reason: string, ...others: string[]) => left(record(others, [{ client: 'aurora', reason }]));
    expect(lost(without(late, 'birch', 'cobalt'), seen(), '', 'late')).toEqual([]);
    expect(lost(without(late, 'birch'), seen(), '', 'late')).toHaveLength(1);
    expect(lost(without(late, 'birch', 'cobalt'), seen(), '', 'clipped')).toHaveLength(1);
    expect(lost(without('too slow', 'birch', 'cobalt'), seen(), '', 'late')).toHaveLength(1);
    const gone = 'left the secure sum at “reveal”: was not heard from for 60 s';
    expect(lost(without(gone, 'birch'), seen(), '', 'secure')).toEqual([]);
    expect(lost(without(gone, 'birch'), seen(), '', 'late')).toHaveLength(1);
  });

  test('what clients are told is what the record says', () => {
    const told = (outcome: 'accepted' | 'refused' | 'received', reason?: string): Seen => ({
      ...seen(),
      outcomes: [{ client: 'aurora', task: 't', outcome, ...(reason !== undefined && { reason }) }],
    });
    const late = left(record([], [{ client: 'aurora', reason: 'late' }]));
    expect(mistold(left(record(['aurora'])), told('accepted'), true)).toEqual([]);
    expect(mistold(left(record(['aurora'])), told('refused', 'no'), true)).toEqual([
      'aurora was told that its acknowledged update of round 1 of fedit · federated does not count, and it does',
    ]);
    const twice = (...outcomes: ('refused' | 'received')[]): Seen => ({
      ...seen(),
      outcomes: outcomes.map((outcome) => ({ client: 'aurora', task: 't', outcome })),
    });
    expect(mistold(left(record(['aurora'])), twice('refused', 'received'), true)).toEqual([]);
    expect(mistold(left(record(['aurora'])), twice('received', 'refused', 'received'), true)).toHaveLength(1);
    expect(mistold(late, told('accepted'), false)[0]).toContain('counts, and it does not');
    expect(mistold(late, told('refused', 'late'), true)).toEqual([]);
    expect(mistold(late, told('received'), true)).toEqual([
      'aurora was never told why its update of round 1 of fedit · federated does not count (late)',
    ]);
    expect(mistold(late, told('received'), false)).toEqual([]);
  });

  test('a round that was begun from two things is found', () => {
    const tasks = (...digests: string[]): Seen => ({
      ...seen(),
      tasks: new Map(digests.map((digest, i) => [`${i}`, begun(`${i}`, digest)])),
    });
    expect(broadcastTwice(tasks('a', 'a'), 'fedit')).toEqual([]);
    expect(broadcastTwice(tasks('a', 'b'), 'fedit')).toEqual([
      'round 1 of fedit · federated was begun from different tensors',
    ]);
  });

  test('noise that is drawn twice, and what a client tells beside its update, is found', () => {
    const events = (...kinds: string[]) => ({
      ...left(record(['aurora'])),
      events: kinds.map((kind) => ({ kind, stage: 0, round: 0, json: ['aurora'] })),
    });
    const sent = (quiet: UpdateMessage) => ({
      ...seen(),
      sent: new Map([['t', [{ client: 'aurora', message: quiet }]]]),
    });
    const totals = { step: 0, steps: 0, tokens: 0, processed: 0, lossSum: 0 };
    const quiet = { digest: null, weight: 1, seconds: 0, totals };
    expect(unprivate(events('draw', 'release', 'round'), sent(quiet), [], true)).toEqual([]);
    expect(unprivate(events('draw', 'release', 'release'), sent(quiet), [], true)).toEqual([
      'there are two of release in a round',
    ]);
    expect(unprivate(events('draw'), sent({ ...quiet, weight: 7 }), [], true)).toEqual(['a client told its weight, 7']);
    expect(unprivate(events('draw'), sent({ ...quiet, totals: { ...totals, tokens: 3 } }), [], true)[0]).toContain(
      'told of its work',
    );
    const before = toPayload(new Map([['x', tensor([2], [1, 2])]]));
    const sentBefore: Seen = {
      ...sent(quiet),
      tasks: new Map([['t', begun('t', 'd')]]),
      payloads: new Map([['d', before]]),
    };
    const ended = (...data: number[]): Evidence => ({
      ...events('draw', 'release', 'round'),
      journal: { shared: () => ({ inner: new Map([['x', tensor([2], data)]]) }) } as Partial<
        Evidence['journal']
      > as Evidence['journal'],
    });
    const combined = { kind: 'sum', sum: new Map([['x', tensor([2], [2, 4])]]), weight: 4, clients: 4 } as const;
    expect(unprivate(ended(1.5, 3), sentBefore, [{ round: 0, combined }], true)).toEqual([]);
    expect(unprivate(ended(2, 4), sentBefore, [{ round: 0, combined }], true)).toEqual([
      'round 1 has not come to where it began and the noised sum in the journal',
    ]);
  });

  test('an update that its client never sent is found where it counts', () => {
    expect(forged(left(record(['aurora'])), seen(), 'fedit')).toEqual([]);
    expect(forged(left(record(['aurora']), { ...message, weight: 9 }), seen(), 'fedit')).toEqual([
      'aurora: what counts in round 1 of fedit · federated was never sent by it',
    ]);
    expect(forged(left(record([MALLORY])), seen(), 'fedit')[0]).toContain(MALLORY);
  });
});

test('the table counts a scenario in the row of each of its faults', () => {
  const result = (outcome: Result['outcome'], ...faults: Result['faults']): Result => ({
    seed: 1,
    setting: 'fedit',
    tls: false,
    faults,
    outcome,
    reason: '',
    problems: [],
    counts: {
      kills: 0,
      acknowledged: 0,
      leftOut: 0,
      hostile: 0,
      overSockets: 0,
      noised: 0,
      full: 0,
      lost: 0,
      refused: 0,
      restored: 0,
      bereft: 0,
      startedAgain: 0,
    },
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
