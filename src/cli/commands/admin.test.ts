import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import { operator } from '../../../tests/support/operators.ts';
import { federationTools, type Served } from '../../../tests/support/served.ts';
import { statusSchema } from '../../federation/http/operator-protocol.ts';
import { backUp } from '../../run/backup.ts';
import { runFolder } from '../../run/folder.ts';
import type { Terminal } from '../context.ts';
import { adminCommand, type AdminAction, type AdminFlags } from './admin.ts';

const tools = federationTools();

/** A server, and what each action prints against it. */
async function scene() {
  const folder = tools.folder();
  const stop = vi.fn();
  let served!: Served;
  const operations = {
    gathering: () => [{ client: 'ben', since: Date.UTC(2026, 0, 2, 3, 4, 5), heard: undefined }],
    stop,
    export: (method = 'fedit') =>
      Promise.resolve({ folder: '/exports/it', method, stage: 'federated', committed: 3, rounds: 8 }),
    backup: () => {
      const { store, blobs } = served.server;
      return backUp({ folder: runFolder(folder), journal: served.journal, store, blobs });
    },
  };
  served = await tools.serve(folder, { operations });
  const flags: AdminFlags = { server: served.server.url, token: operator(served, 'admin') };
  const asked = async (action: AdminAction, more: AdminFlags = {}, name?: string): Promise<string> => {
    const lines: string[] = [];
    const terminal: Terminal = {
      out: process.stdout,
      log: process.stderr,
      paint: (_, text) => text,
      print: (text) => void lines.push(text),
      say: () => undefined,
    };
    await adminCommand(action, { ...flags, ...more }, terminal, name);
    return lines.join('\n');
  };
  return { folder, served, stop, asked, viewer: operator(served, 'viewer') };
}

test('status, clients and audit tell where the run stands, also to a viewer; --json is the server’s own answer', async () => {
  const { served, asked, viewer } = await scene();
  await tools.joined(served.server, 'ann');
  const status = await asked('status', { token: viewer });
  expect(status).toMatch(/^gathering\nclients: 3 known, 1 joined, 1 heard from of late, 0 revoked\n/);
  expect(status).toContain('waiting for ben to join since 2026-01-02 03:04:05 UTC (never heard from)');
  expect(status).toMatch(/audit: \d+ lines, each follows from the one before; the newest has the hash [0-9a-f]{64}$/);
  const { state, clients } = statusSchema.parse(JSON.parse(await asked('status', { json: true })));
  expect([state, clients.joined]).toEqual(['gathering', 1]);
  const rows = (await asked('clients', { token: viewer })).split('\n').map((line) => line.trim().split(/\s{2,}/));
  expect(rows.find(([name]) => name === 'ann')!.slice(0, 2)).toEqual(['ann', 'joined']);
  expect(rows.find(([name]) => name === 'cho')).toEqual(['cho', 'invited', '–', '–', '0', '–', '–', '–']);
  expect(await asked('audit', { token: viewer })).toMatch(/UTC {2}joined {2}ann {2}fedlora 1\n/);
});

test('pause, resume and stop are done and told; a viewer’s are refused', async () => {
  const { served, stop, asked, viewer } = await scene();
  expect(await asked('pause')).toMatch(/^pausing, asked for at \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC\n/);
  expect(served.server.gate.shutSince()).toBeDefined();
  expect(await asked('resume')).toMatch(/^gathering\n/);
  expect(served.server.gate.shutSince()).toBeUndefined();
  for (const action of ['pause', 'stop', 'backup', 'export'] as const)
    await expect(asked(action, { token: viewer })).rejects.toThrow('the server refuses: a viewer may look');
  expect(stop).not.toHaveBeenCalled();
  expect(await asked('stop')).toMatch(/^stopping\n/);
  await expect.poll(() => stop.mock.calls.length).toBe(1);
});

test('export and backup say where on the server, and a backup is there', async () => {
  const { asked } = await scene();
  expect(await asked('export')).toBe('fedit · federated, 3 of 8 rounds\non the server: /exports/it');
  expect(await asked('export', { method: 'other' })).toContain('other · federated');
  const said = /^(\d+) files, .+, in .+\non the server: (.+)$/.exec(await asked('backup'))!;
  expect(Number(said[1])).toBeGreaterThan(4);
  for (const file of ['journal.sqlite', join('server', 'server.sqlite')])
    expect(existsSync(join(said[2]!, file)), file).toBe(true);
});

test('a client is revoked and gets a new token, and so do operators; no token is printed', async () => {
  const { served, asked } = await scene();
  const { api } = await tools.joined(served.server, 'ann');
  expect(await asked('revoke', {}, 'ann')).toBe('ann has no part in this run any more');
  await expect(api.next(0)).rejects.toMatchObject({ code: 'revoked' });
  for (const [action, name, folder] of [
    ['client token', 'ann', served.server.tokens],
    ['operator token', 'viewer', served.server.operators],
  ] as const) {
    const file = join(folder, `${name}.token`);
    const said = await asked(action, {}, name);
    expect(said).toMatch(new RegExp(`^a new token for ${name}, valid until .* UTC; what was valid before is not`));
    expect(said).toContain(`on the server: ${file}`);
    expect(said).not.toContain(readFileSync(file, 'utf8').trim());
  }
});

test('what is missing or no token is said before anybody is asked', async () => {
  const { asked } = await scene();
  await expect(asked('status', { token: 'secret' })).rejects.toThrow('--token: this is no token');
  await expect(asked('status', { server: 'http://elsewhere.example:1' })).rejects.toThrow('would travel unencrypted');
});
