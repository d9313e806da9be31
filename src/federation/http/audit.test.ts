import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { finished } from '../../../tests/support/federation.ts';
import { federationTools, names, rounds, type Served } from '../../../tests/support/served.ts';
import { openAdmin } from '../../run/admin.ts';
import { PROTOCOL, updateSchema } from './protocol.ts';
import { newSecret } from './server/keys.ts';

const tools = federationTools();

test('the journal says who joined with which version, what was received, and what was accepted; a viewer reads it', async () => {
  const folder = tools.folder();
  const served = await tools.serve(folder);
  const { server } = served;
  const taking = names.map((name) => tools.takesPart(server, folder, name));
  const { result } = await finished(rounds(served));
  await server.end({ how: 'finished', why: '' }, 20);
  await Promise.all(taking);
  const token = readFileSync(join(server.operators, 'viewer.token'), 'utf8').trim();
  const { lines } = await openAdmin({ url: server.url, token, signal: tools.signal }).audit();
  expect(lines).toEqual(served.journal.auditLines());
  const of = (what: string): string[] =>
    lines.filter((line) => line.what === what).map(({ client, detail }) => `${client} ${detail}`);
  expect(of('joined').sort()).toEqual(names.map((name) => `${name} fedlora 1`));
  const accepted = result.stages.flatMap(({ stage, rounds: done }) =>
    done.flatMap(({ round, participants }) =>
      participants.map((client) => `${client} method · ${stage}, round ${round + 1}`),
    ),
  );
  expect(accepted).toHaveLength(15);
  expect(of('accepted').sort()).toEqual([...accepted].sort());
  // Every update that was counted was received before, under the digest that the client sent.
  const received = of('received');
  expect(received).toHaveLength(15);
  for (const line of received) {
    const [, id, , digest] = /task ([0-9a-f]{32})(, update ([0-9a-f]{64}))?$/.exec(line)!;
    expect(updateSchema.parse(server.store.task(id!)?.result).digest).toBe(digest ?? null);
  }
  expect(JSON.stringify(lines)).not.toContain(token);
});

test('what a client says it is computed by is in the line of its joining, and in one of its own where it changes', async () => {
  const folder = tools.folder();
  const served = await tools.serve(folder);
  const { url } = served.server;
  const key = newSecret();
  const { run, fedlora } = await tools.api(url).describe();
  const request = { protocol: PROTOCOL, fedlora, run, key };
  const token = tools.token(served.server, 'ann');
  for (const code of ['', 'a\nb', 'é', 'x'.repeat(201)])
    await expect(tools.api(url).join({ ...request, code }, token)).rejects.toMatchObject({ status: 422 });
  await tools.api(url).join({ ...request, code: 'commit 1, Node v24' }, token);
  const counts = { train: 3, validation: 0, test: 0, labelledTokens: 100 };
  const ready = (code?: string): Promise<void> => tools.api(url, key).ready(counts, code);
  for (const code of [undefined, 'commit 1, Node v24', 'commit 2, Node v24', 'commit 2, Node v24']) await ready(code);
  const of = (journal: Served['journal']): string[] =>
    journal
      .auditLines()
      .flatMap(({ what, client, detail }) => (client === 'ann' ? [`${what}: ${detail}`] : []))
      .slice(1);
  const told = [
    'joined: fedlora 1 (commit 1, Node v24)',
    `ready: ${JSON.stringify(counts)}`,
    'code: commit 2, Node v24',
  ];
  expect(of(served.journal)).toEqual(told);
  // Not known any more after a restart of the server, so it is said again.
  await served.close();
  const again = await tools.serve(folder);
  await tools.api(again.server.url, key).ready(counts, 'commit 2, Node v24');
  expect(of(again.journal)).toEqual([...told, 'code: commit 2, Node v24']);
});

test('long audits come in pages', async () => {
  const { server, journal } = await tools.serve(tools.folder());
  const many = Array.from({ length: 2500 }, (_, i) => ({ what: 'noted', client: '', detail: String(i) }));
  journal.audit(many);
  const token = readFileSync(join(server.operators, 'viewer.token'), 'utf8').trim();
  const { lines } = await openAdmin({ url: server.url, token, signal: tools.signal }).audit();
  expect(lines.filter(({ what }) => what === 'noted').map(({ detail }) => detail)).toEqual(
    many.map((one) => one.detail),
  );
  const bad = await fetch(`${server.url}/v1/admin/audit?after=-1`, { headers: { authorization: `Bearer ${token}` } });
  expect(bad.status).toBe(400);
});
