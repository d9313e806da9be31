import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { collect } from '../../tests/support/collect.ts';
import { workspace } from '../../tests/support/workspace.ts';
import { differences, digestOf, modelFiles } from './model-digest.ts';

const { signal } = new AbortController();
const sha256 = (path: string): string => createHash('sha256').update(readFileSync(path)).digest('hex');

test('a model is its config.json and its weight files by name, each with all its bytes', async () => {
  using space = workspace();
  for (const [name, text] of Object.entries({ 'config.json': '{}', 'b.safetensors': 'bb', 'a.safetensors': 'a' }))
    writeFileSync(space.at(name), text);
  const model = { folder: space.path, store: { files: [space.at('b.safetensors'), space.at('a.safetensors')] } };
  const { result: files } = await collect(modelFiles(model, signal));
  expect(files).toEqual(
    [
      ['config.json', 2],
      ['a.safetensors', 1],
      ['b.safetensors', 2],
    ].map(([name, bytes]) => ({ name, bytes, sha256: sha256(space.at(String(name))) })),
  );
  writeFileSync(space.at('b.safetensors'), 'bc');
  const { result: other } = await collect(modelFiles(model, signal));
  expect(digestOf(other)).not.toBe(digestOf(files));
  expect(digestOf([...files])).toBe(digestOf(files));
});

test('what differs is said of each file', () => {
  const file = (name: string, bytes: number, digit: string) => ({ name, bytes, sha256: digit.repeat(64) });
  const wanted = [file('config.json', 2, '0'), file('a', 1, '1'), file('b', 1, '2')];
  expect(differences(wanted, [...wanted])).toEqual([]);
  expect(differences([file('config.json', 2, '3'), file('a', 5, '1'), file('c', 1, '4')], wanted)).toEqual([
    "config.json has other bytes (SHA-256 333333333333…, the run's 000000000000…)",
    "a has 5 bytes, the run's 1",
    'b is missing',
    'the run has no c',
  ]);
});
