import { expect, test } from 'vitest';
import type { Progress } from '../run/events.ts';
import { timeLeft } from './time-left.ts';

/** Events with the fields that count here. */
const event = (fields: object): Progress => fields as Progress;
const at = { method: 'm', stage: 'federated', stageIndex: 0 };
const done = (seconds: number, place: object = at): Progress =>
  event({ ...place, kind: 'client done', round: 0, record: { seconds } });

const opened = event({
  kind: 'opened',
  data: { clients: [{}, {}] },
  plan: [
    {
      label: 'm',
      stages: [
        { name: 'federated', rounds: 3, clients: 2, personal: false },
        { name: 'local', rounds: 1, clients: 2, personal: true },
      ],
    },
  ],
});

test('tasks and evaluations that are left, each by what its like has taken', () => {
  const left = timeLeft();
  expect(left.share()).toBe(0);
  left.tell(opened);
  left.tell(event({ kind: 'base evaluated', seconds: 5 }));
  expect(left.seconds()).toBeUndefined();
  left.tell(done(10));
  // 5 federated tasks and 2 local ones at 10 s, an evaluation of the global model, one of it and two personal ones at 5 s.
  expect(left.seconds()).toBe(7 * 10 + 5 + 3 * 5);
  left.tell(event({ ...at, kind: 'progress', progress: { step: 1, steps: 4 } }));
  expect(left.seconds()).toBe(6.75 * 10 + 20);
  left.tell(done(20));
  expect(left.seconds()).toBe(6 * 15 + 20);
  expect(left.share()).toBe(2 / 8);
  left.tell(event({ ...at, kind: 'stage done' }));
  left.tell(event({ ...at, kind: 'stage evaluated' }));
  expect(left.seconds()).toBe(2 * 15 + 15);
  const local = { method: 'm', stage: 'local', stageIndex: 1 };
  left.tell(done(3, local));
  expect(left.seconds()).toBe(3 + 15);
  left.tell(done(3, local));
  left.tell(event({ ...local, kind: 'stage evaluated' }));
  expect(left.seconds()).toBe(0);
  expect(left.share()).toBe(1);
});

test('rounds that an earlier process committed are done', () => {
  const left = timeLeft();
  left.tell(opened);
  left.tell(event({ ...at, kind: 'stage started', rounds: 3, resumedAt: 2 }));
  expect(left.share()).toBe(4 / 8);
  left.tell(done(2));
  expect(left.seconds()).toBe(2 + 2 * 2);
});
