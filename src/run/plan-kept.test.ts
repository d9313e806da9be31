import { expect, test } from 'vitest';
import type { Reach } from '../federation/http/client/reach.ts';
import type { Next, TaskMessage } from '../federation/http/protocol.ts';
import type { LaidOut } from './methods.ts';
import { plannedTask, planKept } from './plan-kept.ts';

const methods = [{ label: 'fedit', stages: [{ name: 'federated', rounds: 4 }] }] as unknown as readonly LaidOut[];
const place = { method: 'fedit', stage: 'federated', stageIndex: 0 };
const id = 'a'.repeat(32);
const train = (round: number): TaskMessage => ({ kind: 'train', id, place, round, draw: 0, frozen: [], sent: null });
const measure = (
  of: 'base' | 'global' | 'personal',
  rows: 'test' | 'validation',
  at: typeof place | null,
): TaskMessage => ({ kind: 'evaluate', id, of, rows, place: at, model: null });

test('a plan has every round once, each model measured once, and as many validations as it says', () => {
  const most = (task: TaskMessage, every = 2): number | undefined => plannedTask(methods, every, task)?.most;
  expect(most(train(3))).toBe(1);
  expect(most(train(4))).toBe(0);
  expect(most(measure('base', 'test', null))).toBe(1);
  expect(most(measure('global', 'test', place))).toBe(1);
  expect(most(measure('personal', 'test', place))).toBe(1);
  expect(most(measure('global', 'validation', place))).toBe(2);
  expect(most(measure('global', 'validation', place), 3)).toBe(1);
  expect(most(measure('global', 'validation', place), 0)).toBe(0);
  // What is not known here is refused by who would work on it.
  expect(most({ ...train(0), place: { ...place, stage: 'other' } })).toBeUndefined();
});

/** A server that asks for the same over and over. */
const asking = (task: TaskMessage) =>
  planKept({ next: async (): Promise<Next> => ({ kind: 'task', task }) } as unknown as Reach, (one) =>
    plannedTask(methods, 0, one),
  );

test('a server that asks without end is left, one that asks again for what failed is not', async () => {
  const endless = asking(measure('global', 'test', place));
  for (let i = 0; i < 10; i++) {
    const next = await endless.reach.next(0);
    endless.tell({ kind: 'task', task: (next as Extract<Next, { kind: 'task' }>).task });
  }
  await expect(endless.reach.next(0)).rejects.toThrow(
    'measuring the global model of fedit · federated once more, after 10 times, and its plan has it 1 time(s)',
  );

  const patient = asking(train(0));
  for (let i = 0; i < 30; i++) {
    await patient.reach.next(0);
    patient.tell({ kind: 'task', task: train(0) });
    patient.tell({ kind: 'failed', task: train(0), reason: 'no memory' });
  }
  await expect(asking(train(4)).reach.next(0)).rejects.toThrow(
    'round 5 of fedit · federated, which is not in the plan',
  );
});
