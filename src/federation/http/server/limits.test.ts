import { expect, test } from 'vitest';
import { bell } from '../bell.ts';
import { placeOf, rateLimiter, roomFor } from './limits.ts';

test('a bucket gives its burst at once, then as many as flow in, each name its own', () => {
  let now = 0;
  const limiter = rateLimiter({ perSecond: 2, burst: 3 }, () => now);
  expect([1, 2, 3, 4].map(() => limiter.take('a'))).toEqual([0, 0, 0, 0.5]);
  expect(limiter.take('b')).toBe(0);
  now = 500;
  expect([limiter.take('a'), limiter.take('a')]).toEqual([0, 0.5]);
  now = 750;
  expect(limiter.take('a')).toBe(0.25);
  now = 60_000;
  expect([1, 2, 3, 4].map(() => limiter.take('a') === 0)).toEqual([true, true, true, false]);
});

test('a room takes so many of each name at a time', () => {
  const room = roomFor(2);
  const leave = room.enter('a');
  expect(room.enter('a')).toBeDefined();
  expect(room.enter('a')).toBeUndefined();
  expect(room.enter('b')).toBeDefined();
  leave!();
  expect(room.enter('a')).toBeDefined();
  expect(room.enter('a')).toBeUndefined();
});

test('a bell wakes all who wait; others end with their limit or their signal', async () => {
  const door = bell();
  const order: string[] = [];
  const control = new AbortController();
  const waits = [
    door.wait(60).then(() => order.push('rung')),
    door.wait(60, control.signal).then(() => order.push('aborted')),
    door.wait(0.01).then(() => order.push('late')),
  ];
  await waits[2];
  control.abort();
  await waits[1];
  door.ring();
  await waits[0];
  expect(order).toEqual(['late', 'aborted', 'rung']);
  await door.wait(60, AbortSignal.abort());
});

test.each([
  ['192.0.2.7', '192.0.2.7'],
  ['::ffff:192.0.2.7', '192.0.2.7'],
  ['2001:db8:1:2:a:b:c:d', '2001:db8:1:2'],
  ['2001:db8:1:2::9', '2001:db8:1:2'],
  ['2001:DB8::9', '2001:db8:0:0'],
  ['::1', '0:0:0:0'],
  ['fe80::1%eth0', 'fe80:0:0:0'],
  ['', ''],
])('%s counts as %s', (address, place) => {
  expect(placeOf(address)).toBe(place);
});
