import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { readDataset } from '../src/data/read.ts';
import { readJson } from '../src/data/files.ts';
import { readSweep } from '../src/experiments/read-sweep.ts';
import { fileDigest } from '../src/formats/files/digest.ts';
import { openModelFolder } from '../src/formats/files/model.ts';
import { openAdapter } from '../src/formats/files/peft.ts';
import { openSafetensors } from '../src/formats/files/safetensors.ts';
import { openTokenizer } from '../src/formats/files/tokenizer.ts';
import { readIdentities } from '../src/run/join-key.ts';
import { knownMethods } from '../src/run/methods.ts';
import { readConfig } from '../src/run/read-config.ts';
import { readServedSummary, readSummary } from '../src/run/summary-schema.ts';
import { embeddedModel, workspace } from './support/workspace.ts';

// Whatever reads a path that a user gives: of a pipe that nobody writes to, reading would never end.
const folder = workspace();
const pipe = folder.at('pipe');
/** A model's folder in which one file is a pipe. */
function modelWith(name: string): string {
  const path = folder.at(name.replace('.', ' '));
  mkdirSync(path);
  for (const file of ['config.json', 'tokenizer.json', 'model.safetensors'])
    if (file === name) execFileSync('mkfifo', [`${path}/${file}`]);
    else copyFileSync(`${embeddedModel}/${file}`, `${path}/${file}`);
  return path;
}
beforeAll(() => void execFileSync('mkfifo', [pipe]));
afterAll(() => folder[Symbol.dispose]());

const adapter = (): string => {
  const path = folder.at('adapter');
  mkdirSync(path);
  execFileSync('mkfifo', [`${path}/adapter_config.json`]);
  return path;
};

test.runIf(process.platform !== 'win32').each<[string, () => Promise<unknown>]>([
  ['a configuration', () => readConfig(pipe)],
  ['a sweep', () => readSweep(pipe, knownMethods())],
  ['a sweep’s base', () => readSweep({ base: pipe, seeds: [1], arms: {} } as never, knownMethods())],
  ['data', () => readDataset(pipe, { format: 'jsonl' })],
  ['clients.file', () => readJson(pipe)],
  ['a model’s configuration', () => openModelFolder(modelWith('config.json'))],
  ['a model’s weights', () => openModelFolder(modelWith('model.safetensors'))],
  ['a tokenizer', () => openTokenizer(modelWith('tokenizer.json'))],
  ['tensors', () => openSafetensors(pipe)],
  ['an adapter', () => openAdapter(adapter())],
  ['identities', () => readIdentities(pipe, '')],
  ['a summary', () => readSummary(pipe)],
  ['the summary of a served run', () => readServedSummary(pipe)],
  ['a file of which the digest is asked for', () => fileDigest(pipe, new AbortController().signal).next()],
])('%s that is a pipe is refused', async (_, read) => {
  await expect(read()).rejects.toThrow(/: is a pipe, not a file$/);
});
