import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach } from 'vitest';
import { resolveHub, type HubRequest } from '../../src/formats/files/hub.ts';
import { dataset, first, model } from '../hub-fixture.ts';
import { startHub, type TestHub } from '../hub-server.ts';
import { collect } from './collect.ts';

/** A test Hub and an empty HF_HOME for each test of the file that imports this. */
export let hub: TestHub;
export let home: string;
beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), 'fedlora-'));
  hub = await startHub(model, dataset);
});
afterEach(async () => {
  await hub.close();
  await rm(home, { recursive: true, force: true });
});

/** Puts a Hub without repositories in the place of one that was closed. */
export async function emptyHub(): Promise<void> {
  hub = await startHub();
}

export const request = (change: Partial<HubRequest> = {}): HubRequest => ({
  kind: 'model',
  id: 'org/tiny',
  limits: { pause: 1, tries: 3, silenceMs: 2000 },
  ...change,
  env: { HF_HOME: home, HF_ENDPOINT: hub.endpoint, ...change.env },
});
/** Files asked for, in order. */
export const fetched = (): string[] =>
  hub.requests.filter((r) => r.includes('/resolve/')).map((r) => r.replace(/^.*\/resolve\/[^/]*\//, ''));
export const repo = (): string => join(home, 'hub', 'models--org--tiny');
export const snapshot = (commit = first): string => join(repo(), 'snapshots', commit);

/** The folder that `resolveHub` ends with. */
export const hubFolder = async (asked: HubRequest): Promise<string> => (await collect(resolveHub(asked))).result;
