import { mkdirSync, readdirSync } from 'node:fs';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { Worker } from 'node:worker_threads';
import { expect, test } from 'vitest';
import { fedlora } from './support/cli.ts';
import { smallConfig, workspace, writeConfig } from './support/workspace.ts';

// As of 1.29 ONNX Runtime's telemetry keeps a machine's identifier and a queue of events in the user's cache folder, and a log in
// the temporary one. It holds back where CI is set, so that is empty here.
test('training leaves no trace of ONNX Runtime’s telemetry', async () => {
  using folder = workspace();
  const places = { HOME: folder.at('home'), XDG_CACHE_HOME: folder.at('cache'), TMPDIR: folder.at('tmp') };
  for (const place of Object.values(places)) mkdirSync(place);
  const config = writeConfig(folder.at('c.yaml'), { ...smallConfig, rounds: { count: 1 } });
  const env = { ...places, CI: '', ORT_DISABLE_TELEMETRY: '' };
  const { code, stderr } = await fedlora(['run', config, '--out', folder.at('run')], { env });
  expect(code, stderr).toBe(0);
  for (const place of Object.values(places)) expect(readdirSync(place)).toEqual([]);
});

test('a thread that could not switch it off for its process refuses', async () => {
  const session = pathToFileURL(resolve(import.meta.dirname, '../dist/runtime/node/session.js'));
  const worker = new Worker(session, { env: {} });
  const error = await new Promise((heard) => worker.once('error', heard).once('exit', heard));
  expect(error).toMatchObject({
    name: 'UserError',
    message: expect.stringMatching(/set ORT_DISABLE_TELEMETRY=1 in the main thread/),
  });
});
