import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { finished } from '../../../tests/support/federation.ts';
import { federationTools, names, rounds } from '../../../tests/support/served.ts';
import { openAdmin } from '../../run/admin.ts';
import { updateSchema } from './protocol.ts';

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
