import { expect, test } from 'vitest';
import { waitingLine } from './waiting.ts';

const at = (hour: number, minute = 0, day = 23): number => Date.UTC(2026, 10, day, hour, minute, 5);

test('a server says whom it waits for and since when, and nothing where it waits for nobody', () => {
  expect(waitingLine([])).toBeUndefined();
  const list = [
    { client: 'north', since: at(9, 0, 22), heard: at(9, 30) },
    { client: 'south', since: at(23, 59), heard: undefined },
  ];
  expect(waitingLine(list)).toBe(
    'waiting for north since 2026-11-22 09:00:05 (last heard 2026-11-23 09:30:05), south since 2026-11-23 23:59:05 (never heard from) · UTC',
  );
});

test('of many it names some and counts the others', () => {
  const many = Array.from({ length: 11 }, (_, i) => ({ client: `c${i}`, since: at(1), heard: undefined }));
  expect(waitingLine(many)).toMatch(/^waiting for c0 since .*, c7 since [^,]* and 3 more · UTC$/);
});
