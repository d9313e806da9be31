import { expect, test } from 'vitest';
import type { EvaluateMessage } from '../protocol.ts';
import { Refusal } from '../refusal.ts';
import { takePart, type TakePart } from './take-part.ts';
import { rests } from './under-way.ts';

test('a task that failed rests longer each time, up to a bound, and another task not at all', () => {
  const rest = rests(6, () => 1);
  const pauses = Array.from({ length: 5 }, () => {
    rest.failed('a');
    return rest.before('a');
  });
  expect(pauses).toEqual([1, 2, 4, 6, 6]);
  expect(rest.before('b')).toBe(0);
  expect(rest.before('a')).toBe(0);
  const early = rests(6, () => 0);
  early.failed('a');
  expect(early.before('a')).toBe(0.5);
});

test('a client whose work the server refuses does not begin it again at once, and does not hold up who stops it', async () => {
  const task = { kind: 'evaluate', id: '0'.repeat(32), place: null, model: null } as EvaluateMessage;
  const control = new AbortController();
  const begun: number[] = [];
  const told: string[] = [];
  const part = takePart({
    api: {
      next: () => Promise.resolve({ kind: 'task', task }),
      answer: () => Promise.reject(new Refusal(422, 'sums', 'not these')),
      fail: (_, reason) => {
        told.push(reason);
        return Promise.resolve({ outcome: 'refused', reason });
      },
    } as Partial<TakePart['api']> as TakePart['api'],
    state: { undecided: () => [] } as Partial<TakePart['state']> as TakePart['state'],
    worker: { evaluate: () => Promise.resolve(null) } as Partial<TakePart['worker']> as TakePart['worker'],
    signal: control.signal,
    beat: 2,
  });
  await expect(async () => {
    for await (const { kind } of part) {
      if (kind === 'task') begun.push(performance.now());
      // It rests by then.
      if (begun.length === 2 && kind === 'failed') setTimeout(() => control.abort(new Error('enough')), 20);
    }
  }).rejects.toThrow();
  expect(begun).toHaveLength(2);
  // And the server need not wait for it.
  expect(told).toEqual(['not these', 'not these']);
  // Half a second at least, less what timers are early; and then it was stopped in a second of rest.
  expect(begun[1]! - begun[0]!).toBeGreaterThan(490);
  expect(performance.now() - begun[1]!).toBeLessThan(900);
});
