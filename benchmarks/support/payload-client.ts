/** The client's side of the payload benchmark: `node payload-client.js URL TOKEN MEGABYTES`. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openApi } from '../../src/federation/http/client/api.ts';
import { openClientState } from '../../src/federation/http/client/state.ts';
import { takePart } from '../../src/federation/http/client/take-part.ts';
import { PROTOCOL } from '../../src/federation/http/protocol.ts';
import { newSecret } from '../../src/federation/http/server/keys.ts';
import type { ClientKit } from '../../src/train/kit.ts';
import { layoutOf, stageOf } from './payload-work.ts';

const [url, token, megabytes] = process.argv.slice(2) as [string, string, string];
const tell = (line: object): void => console.log(JSON.stringify(line));
const folder = mkdtempSync(join(tmpdir(), 'fedlora-bench-'));
const { signal } = new AbortController();
const key = newSecret();
const open = (key?: string): ReturnType<typeof openApi> =>
  openApi({ url, patience: 600, signal, ...(key !== undefined && { key }) });
const { run } = await open().describe();
const client = await open().join({ protocol: PROTOCOL, fedlora: 'benchmark', run, key }, token);
const api = open(key);
await api.ready({ train: 1, validation: 0, test: 0, labelledTokens: 1 });
const state = await openClientState(folder, client, { run });
const stage = stageOf(layoutOf(Number(megabytes)));
tell({ is: 'bare' });
try {
  const taking = takePart({
    api,
    state,
    worker: {
      train: (_, received, mine) => stage.work(received, mine, undefined as unknown as ClientKit),
      evaluate: () => Promise.reject(new Error('nothing is evaluated here')),
    },
    signal,
    beat: 5,
  });
  for (;;) {
    const next = await taking.next();
    if (next.done) break;
    if (next.value.kind === 'failed' || next.value.kind === 'refused') throw new Error(next.value.reason);
  }
} finally {
  state.close();
  rmSync(folder, { recursive: true });
}
