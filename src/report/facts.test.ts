import { expect, it } from 'vitest';
import { summaryFixture } from '../../tests/summary-fixture.ts';
import { lowest, placedRounds, sharesModel, stageSpans, stageTraffic, trafficPerClient } from './facts.ts';
import type { MethodSummary } from './summary.ts';

const [optimizer, fedit, , local] = summaryFixture().methods as [
  MethodSummary,
  MethodSummary,
  MethodSummary,
  MethodSummary,
];

it('places the rounds of all stages on one axis', () => {
  const rounds = placedRounds(optimizer);
  expect(rounds.map(({ at }) => at)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13]);
  expect(rounds.map(({ stage }) => stage)).toEqual([0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2]);
  expect(rounds.at(-1)).toMatchObject({ validation: undefined, train: optimizer.stages[2]!.rounds[0]!.trainLoss });
  expect(stageSpans(optimizer)).toEqual([
    { name: 'federated', from: 0.5, to: 8.5 },
    { name: 'global', from: 8.5, to: 12.5 },
    { name: 'local', from: 12.5, to: 13.5 },
  ]);
});

it('knows who shared: something went up', () => {
  expect([optimizer, fedit, local].map(sharesModel)).toEqual([true, true, false]);
  const received = {
    ...local,
    stages: local.stages.map((stage) => ({ ...stage, traffic: { a: { up: 0, down: 9 } } })),
  };
  expect(sharesModel(received)).toBe(false);
  const pooled = local.stages.map((stage) => ({
    ...stage,
    rounds: stage.rounds.map((round) => ({ ...round, clients: ['pooled'] })),
    traffic: {},
  }));
  expect(sharesModel({ ...local, stages: pooled })).toBe(true);
});

it('averages traffic over the clients that took part, over stages too', () => {
  const stage = { ...fedit.stages[0]!, traffic: { a: { up: 10, down: 20 }, b: { up: 30, down: 20 } } };
  const later = { ...stage, traffic: { a: { up: 2, down: 4 } } };
  expect(stageTraffic(stage)).toEqual({ up: 20, down: 20 });
  expect(trafficPerClient({ ...fedit, stages: [stage, later] })).toEqual({ up: 21, down: 22 });
  expect(trafficPerClient({ ...fedit, stages: [{ ...stage, traffic: {} }] })).toBeUndefined();
});

it('finds the lowest among those that have a value', () => {
  const found = lowest([optimizer, fedit, local], (method) => (method === fedit ? undefined : method.seconds));
  expect(found?.method.label).toBe('local only');
  expect(lowest([fedit], () => undefined)).toBeUndefined();
});
