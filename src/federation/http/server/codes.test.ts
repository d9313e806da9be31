import { expect, test } from 'vitest';
import { codesOf } from './codes.ts';

test('what a client is computed by is in the audit where it changes, and not without end', () => {
  const lines: string[] = [];
  const codes = codesOf((what, client, detail) => lines.push(`${what} ${client} ${detail}`));
  codes.joined('ann', 'v1');
  codes.told('ann', 'v1');
  codes.told('ann', undefined);
  codes.told('ann', 'v2');
  codes.told('ann', 'v2');
  expect(lines).toEqual(['code ann v2']);
  for (let i = 0; i < 99; i++) codes.told('ann', `v${i % 2}`);
  expect(() => codes.told('ann', 'v3')).toThrow('computed by something else');
  expect(lines.length).toBe(100);
  codes.told('ann', 'v0');
  codes.told('ben', 'v3');
  expect(lines.length).toBe(101);
});
