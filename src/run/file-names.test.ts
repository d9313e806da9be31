import { assert, property, string, uniqueArray } from 'fast-check';
import { expect, test } from 'vitest';
import { fileNames } from './file-names.ts';

test('plain ids keep their names', () => {
  const ids = ['closed_qa', 'task363', 'a b.c-d', 'FedIT + local (row)'];
  expect([...fileNames(ids).values()]).toEqual(ids);
});

test('names that a file system cannot hold or confuses are told apart by a digest', () => {
  const names = fileNames(['a/b', 'a_b', '..', 'CON', 'Ä', 'Ö', 'x', 'X', 'x'.repeat(300), 'dot.', '']);
  expect(names.get('a/b')).toMatch(/^a_b-[0-9a-f]{16}$/);
  expect(names.get('a_b')).toMatch(/^a_b-[0-9a-f]{16}$/);
  expect(names.get('..')).toMatch(/^_-[0-9a-f]{16}$/);
  expect(names.get('CON')).toMatch(/^_CON-[0-9a-f]{16}$/);
  expect(names.get('x')).toMatch(/^x-[0-9a-f]{16}$/);
  expect(names.get('dot.')).toMatch(/^dot_-[0-9a-f]{16}$/);
});

test('an id cannot take the name made for another', () => {
  const made = fileNames(['a/b']).get('a/b')!;
  const names = fileNames(['a/b', made]);
  expect(names.get('a/b')).toBe(made);
  expect(names.get(made)).toMatch(new RegExp(`^${made}-[0-9a-f]{16}$`));
});

test('any ids get different names of one safe path segment, whatever the case and the order', () => {
  assert(
    property(uniqueArray(string({ unit: 'binary', maxLength: 100 }), { maxLength: 12 }), (ids) => {
      const names = fileNames(ids);
      expect(new Set([...names.values()].map((name) => name.toLowerCase())).size).toBe(ids.length);
      for (const name of names.values()) expect(name).toMatch(/^(?![. ])[A-Za-z0-9._ +(),=-]{1,100}(?<![. ])$/);
      expect(fileNames([...ids].reverse())).toEqual(names);
    }),
    { numRuns: 40 },
  );
});
