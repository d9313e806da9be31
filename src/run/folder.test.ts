import { randomUUID } from 'node:crypto';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { parseConfig } from '../config/parse.ts';
import type { RunConfig } from '../config/schema.ts';
import { knownMethods } from './methods.ts';
import { configText, runFolder, runKey, stateOf, type RunFolder } from './folder.ts';

const yaml = `model: { path: /m }
data: { path: /d, format: jsonl }
methods: [{ use: fedit, label: a }, { use: local-only }]
`;
const configOf = (...sets: string[]): RunConfig => parseConfig(yaml, { file: 'c.yaml', methods: knownMethods(), sets });

let folder: RunFolder;
beforeEach(() => {
  folder = runFolder(mkdtempSync(join(tmpdir(), 'fedlora-folder-')));
});
afterEach(() => rmSync(folder.path, { recursive: true }));

describe('stateOf', () => {
  test('a folder that is empty or not there is fresh', async () => {
    expect(await stateOf(folder, configOf(), false)).toEqual({ state: 'fresh', known: true });
    expect(await stateOf(runFolder(join(folder.path, 'no', 'where')), configOf(), false)).toMatchObject({
      state: 'fresh',
    });
    expect(readdirSync(folder.path)).toEqual([]);
  });

  test('what is made before a run’s first file, where the disk was full then or the process was killed, makes it no other', async () => {
    const tls = join(folder.path, 'server', 'tls');
    mkdirSync(tls, { recursive: true });
    const temporary = `.config.yaml.${randomUUID()}.tmp`;
    for (const name of ['key.pem', 'cert.pem', `.cert.pem.${randomUUID()}.tmp`]) writeFileSync(join(tls, name), '');
    writeFileSync(join(folder.path, temporary), 'model:');
    for (const resume of [false, true])
      expect(await stateOf(folder, configOf(), resume)).toEqual({ state: 'fresh', known: true });
    for (const other of ['notes.txt', '.config.yaml.tmp', 'server/notes.txt', 'server/tls/server.sqlite']) {
      writeFileSync(join(folder.path, other), '');
      await expect(stateOf(folder, configOf(), true), other).rejects.toThrow(/is not empty and holds no run/);
      rmSync(join(folder.path, other));
    }
  });

  test('a folder of this run is unfinished until its summary is there', async () => {
    writeFileSync(folder.config, configText(configOf()));
    await expect(stateOf(folder, configOf(), false)).rejects.toThrow(/add --resume/);
    expect(await stateOf(folder, configOf(), true)).toEqual({ state: 'unfinished', known: false });
    writeFileSync(folder.environment, '{ "identity": { "start": "fresh" } }');
    writeFileSync(folder.summary, '{}');
    expect(await stateOf(folder, configOf(), false)).toEqual({ state: 'finished', known: true });
  });

  test('threads and paths do not make another run, but elsewhere contents have to be looked at', async () => {
    writeFileSync(folder.config, configText(configOf()));
    writeFileSync(folder.environment, '{ "identity": { "start": "fresh" } }');
    expect(await stateOf(folder, configOf('runtime.threads=3'), true)).toEqual({ state: 'unfinished', known: true });
    expect(await stateOf(folder, configOf('model.path=/elsewhere'), true)).toEqual({
      state: 'unfinished',
      known: false,
    });
    expect(runKey(configOf('runtime.threads=3', 'data.path=/x'))).toBe(runKey(configOf()));
    expect(runKey(configOf('seed=2'))).not.toBe(runKey(configOf()));
  });

  test('where and how patiently a run is served makes no other run; for whom does', () => {
    const served = (serve: object) => runKey({ ...configOf(), serve: { clients: ['a', 'b', 'c'], ...serve } });
    for (const key of ['host', 'port', 'tls', 'gather', 'lease', 'sumDeadline', 'linger', 'tokens', 'metrics'])
      expect(served({ [key]: 9 })).toBe(served({}));
    expect(served({ clients: ['a', 'b'] })).not.toBe(served({}));
  });

  test('a folder of an earlier fedlora is this run’s where its keys agree and the others have their defaults', async () => {
    const { seed: _, ...before } = configOf();
    const former = { ...before, methods: before.methods.map(({ use, label }) => ({ use, label })) };
    writeFileSync(folder.config, configText(former as unknown as RunConfig));
    expect(await stateOf(folder, configOf(), true)).toEqual({
      state: 'unfinished',
      known: false,
      formerKey: runKey(former),
    });
    await expect(stateOf(folder, configOf('seed=2'), true)).rejects.toThrow('\n  seed: 1 there, 2 here');
    await expect(stateOf(folder, configOf('methods.0.weights=tokens'), true)).rejects.toThrow('holds another run');
  });

  test('another run is refused, by every key that differs', async () => {
    writeFileSync(folder.config, configText(configOf()));
    const other = configOf('seed=2', 'methods.0.weights=tokens', 'train.steps=4', 'lora.targets=[k_proj]');
    await expect(stateOf(folder, other, true)).rejects.toThrow(
      `${folder.path} holds another run; nothing was changed. Choose another --out.\n` +
        '  lora.targets.0: "q_proj" there, "k_proj" here\n' +
        '  lora.targets.1: "v_proj" there, nothing here\n' +
        '  methods.0.weights: "examples" there, "tokens" here\n' +
        '  train.steps: nothing there, 4 here\n' +
        '  seed: 1 there, 2 here',
    );
  });

  test('what is no run, or can no longer be read, is refused', async () => {
    mkdirSync(join(folder.path, 'photos'));
    await expect(stateOf(folder, configOf(), true)).rejects.toThrow(/is not empty and holds no run/);
    writeFileSync(folder.config, 'model: [');
    await expect(stateOf(folder, configOf(), true)).rejects.toThrow(/config\.yaml cannot be read/);
    await expect(stateOf(runFolder(folder.config), configOf(), true)).rejects.toThrow(/is a file/);
  });
});

test('config.yaml reads back as the same configuration', () => {
  const config = configOf(
    'train.keepBest.every=5',
    'methods.0.local.steps=3',
    'clients.partition=iid',
    'clients.count=2',
  );
  expect(parseConfig(configText(config), { file: 'config.yaml', methods: knownMethods() })).toEqual(config);
});
