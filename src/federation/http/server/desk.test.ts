import { expect, test } from 'vitest';
import { noTask } from '../../../../tests/support/served.ts';
import { openDesk, type Offer } from './desk.ts';

const store = {
  task: () => undefined,
  offered: () => undefined,
  revoked: () => undefined,
  forgetResult: () => undefined,
};

test('a task whose client says that it failed is open no more: an update that came after it would be taken and not counted', async () => {
  const desk = openDesk(store, 1);
  const offer: Offer = { ...noTask, message: { ...noTask.message, id: 'a' }, client: 'ann' };
  const told = desk.offer(offer, new AbortController().signal).next();
  expect(desk.open('a')).toBe(offer);
  desk.failed('a', 'out of memory');
  expect(desk.open('a')).toBeUndefined();
  await expect(told).rejects.toThrow('out of memory');
  // Asked once more, in another try at the round.
  void desk
    .offer(offer, AbortSignal.timeout(1000))
    .next()
    .catch(() => undefined);
  expect(desk.open('a')).toBe(offer);
});

test('who was waited for in vain is waited for a moment only, until it is heard of again', async () => {
  const desk = openDesk(store, 1, undefined, 0.1);
  const never = new AbortController().signal;
  const offer = (id: string): Offer => ({ ...noTask, message: { ...noTask.message, id }, client: 'ann' });
  const waited = async (id: string): Promise<readonly [string, number]> => {
    const from = performance.now();
    const why = await desk
      .offer(offer(id), never)
      .next()
      .then(() => 'answered')
      .catch((error: Error) => error.message);
    return [why, (performance.now() - from) / 1000];
  };
  const [first, whole] = await waited('a');
  expect(first).toBe('was not heard from for 1 s');
  expect(whole).toBeGreaterThan(0.99);
  const [second, moment] = await waited('b');
  expect(second).toBe('was still not heard from since its lease ended');
  expect(moment).toBeLessThan(whole);
  desk.heard('ann');
  const [third, again] = await waited('c');
  expect(third).toBe(first);
  expect(again).toBeGreaterThan(0.99);
});
