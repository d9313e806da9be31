import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { finished } from '../../../tests/support/federation.ts';
import { asked, gated, operator, sample, status, until } from '../../../tests/support/operators.ts';
import { federationTools, names, rounds } from '../../../tests/support/served.ts';
import { clientsSchema } from './operator-protocol.ts';
import { newSecret } from './server/keys.ts';

const tools = federationTools();

describe('who may do what', () => {
  test('a viewer looks, an admin does, and nobody else either; refusals change nothing', async () => {
    const at = await tools.serve(tools.folder());
    const { key } = await tools.joined(at.server, 'ann');
    const before = at.server.store.auditLines();
    const looking = ['/metrics', '/v1/admin/status', '/v1/admin/clients'];
    const doing = ['pause', 'resume', 'stop', 'export', 'backup', 'clients/ann/revoke'];
    for (const path of looking) {
      expect((await asked(at, 'GET', path)).status).toBe(401);
      expect((await asked(at, 'GET', path, key)).status, 'a client').toBe(401);
      expect((await asked(at, 'GET', path, newSecret())).status, 'anybody').toBe(401);
      for (const role of ['admin', 'viewer'] as const)
        expect((await asked(at, 'GET', path, operator(at, role))).status).toBe(200);
    }
    for (const what of doing) {
      const path = `/v1/admin/${what}`;
      expect((await asked(at, 'POST', path, key)).status).toBe(401);
      expect(await asked(at, 'POST', path, operator(at, 'viewer'))).toMatchObject({
        status: 403,
        json: { error: { code: 'role' } },
      });
      expect((await asked(at, 'POST', path, operator(at, 'admin'), { force: true })).status, what).toBe(422);
      expect((await asked(at, 'POST', path, operator(at, 'admin'), 'no json')).status, what).toBe(400);
      expect((await asked(at, 'GET', path, operator(at, 'admin'))).status, what).toBe(405);
    }
    const admin = operator(at, 'admin');
    expect((await asked(at, 'POST', '/v1/admin/clients/nobody/revoke', admin)).status).toBe(404);
    expect((await asked(at, 'POST', '/v1/admin/clients/%ff/revoke', admin)).status).toBe(400);
    expect((await fetch(`${at.server.url}/v1/next`, { headers: { authorization: `Bearer ${admin}` } })).status).toBe(
      401,
    );
    expect(at.server.store.auditLines()).toEqual(before);
    expect(at.server.gate.shutSince()).toBeUndefined();
  });

  test('tokens are kept as hashes, expire, and a new one is made by a restart', async () => {
    const folder = tools.folder();
    const short = await tools.serve(folder, { operatorHours: 1e-9 });
    const old = operator(short, 'admin');
    expect(await asked(short, 'GET', '/v1/admin/status', old)).toMatchObject({
      status: 401,
      json: { error: { code: 'token-expired' } },
    });
    await short.close();
    expect(readFileSync(join(folder, 'server', 'server.sqlite')).includes(old)).toBe(false);
    const again = await tools.serve(folder);
    expect(operator(again, 'admin')).not.toBe(old);
    expect((await status(again)).state).toBe('running');
    await again.close();
    const third = await tools.serve(folder);
    expect(operator(third, 'admin'), 'a valid one stays').toBe(operator(again, 'admin'));
  });

  test('metrics are open where the configuration says so', async () => {
    const at = await tools.serve(tools.folder(), { openMetrics: true });
    expect((await asked(at, 'GET', '/metrics')).status).toBe(200);
    expect((await asked(at, 'GET', '/v1/admin/status')).status).toBe(401);
  });

  test('an error of the server is told, counted, and says nothing of itself; no gauge has a counter’s name', async () => {
    const errors: unknown[] = [];
    const at = await tools.serve(tools.folder(), { onError: (error) => errors.push(error) });
    const failed = await asked(at, 'POST', '/v1/admin/export', operator(at, 'admin'));
    expect(failed).toMatchObject({ status: 500, json: { error: { code: 'server' } } });
    expect(failed.text).not.toContain('no model');
    expect(errors.map(String)).toEqual(['Error: there is no model here']);
    const { text } = await asked(at, 'GET', '/metrics', operator(at, 'viewer'));
    expect(sample(text, 'fedlora_refused_requests_total{status="500",reason="server"}')).toBe(1);
    const families = [...text.matchAll(/^# TYPE (\S+)/gm)].map(([, name]) => name!.replace(/_total$/, ''));
    expect(families).toContain('fedlora_stage_rounds');
    expect(new Set(families).size, 'as OpenMetrics counts them').toBe(families.length);
  });
});

describe('a revoked client', () => {
  test('is shown the door, leaves its round at once, and stays out after a restart', async () => {
    const folder = tools.folder();
    const at = await tools.serve(folder);
    const admin = operator(at, 'admin');
    const ann = await tools.joined(at.server, 'ann');
    const taking = ['ben', 'cho'].map((name) => tools.takesPart(at.server, folder, name));
    const running = finished(gated(at, tools.signal));
    await until(async () => (await status(at)).waiting.some(({ client }) => client === 'ann'));
    for (let i = 0; i < 2; i++)
      expect((await asked(at, 'POST', '/v1/admin/clients/ann/revoke', admin)).status).toBe(200);
    await expect(ann.api.next(0)).rejects.toMatchObject({ status: 401, code: 'revoked' });
    const { result } = await running;
    await at.server.end({ how: 'finished', why: '' }, 0.5);
    await Promise.all(taking);
    for (const stage of result.stages) {
      for (const round of stage.rounds)
        expect(round.leftOut).toEqual([{ client: 'ann', reason: 'its key was revoked' }]);
    }
    const { clients } = clientsSchema.parse((await asked(at, 'GET', '/v1/admin/clients', admin)).json);
    expect(clients.map(({ client, state, updates }) => [client, state, updates])).toEqual([
      ['ann', 'revoked', 0],
      ['ben', 'joined', 5],
      ['cho', 'joined', 5],
    ]);
    expect(at.server.store.auditLines().filter(({ what }) => what === 'revoked')).toHaveLength(1);
    await at.close();
    const again = await tools.serve(folder);
    await expect(tools.api(again.server.url, ann.key).next(0)).rejects.toMatchObject({ code: 'revoked' });
  });

  test('has no use for a token that it had not used', async () => {
    const folder = tools.folder();
    const at = await tools.serve(folder);
    await asked(at, 'POST', '/v1/admin/clients/ann/revoke', operator(at, 'admin'));
    await expect(tools.joined(at.server, 'ann')).rejects.toMatchObject({ status: 401, code: 'revoked' });
    await at.close();
    expect(readdirSync((await tools.serve(folder)).server.tokens).sort()).toContain('ben.token');
  });
});

describe('a new token', () => {
  test('takes the place of a client’s key, and lets one that was revoked join again', async () => {
    const folder = tools.folder();
    const at = await tools.serve(folder);
    const admin = operator(at, 'admin');
    const ann = await tools.joined(at.server, 'ann');
    await asked(at, 'POST', '/v1/admin/clients/ann/revoke', admin);
    const made = await asked(at, 'POST', '/v1/admin/clients/ann/token', admin);
    const file = join(at.server.tokens, 'ann.token');
    expect(made).toMatchObject({ status: 200, json: { file } });
    expect(made.text).not.toContain(readFileSync(file, 'utf8').trim());
    await expect(ann.api.next(0)).rejects.toMatchObject({ status: 401, code: 'key' });
    const taking = names.map((name) => tools.takesPart(at.server, folder, name));
    const { result } = await finished(rounds(at));
    await at.server.end({ how: 'finished', why: '' }, 20);
    await Promise.all(taking);
    for (const stage of result.stages) for (const round of stage.rounds) expect(round.participants).toEqual(names);
    // Also after a restart the key from before is nobody's.
    await at.close();
    const again = await tools.serve(folder);
    await expect(tools.api(again.server.url, ann.key).next(0)).rejects.toMatchObject({ status: 401, code: 'key' });
  });

  test('takes the place of an operator’s, of the one who asks too; roles and names that are not there are refused', async () => {
    const at = await tools.serve(tools.folder());
    const before = { admin: operator(at, 'admin'), viewer: operator(at, 'viewer') };
    for (const role of ['viewer', 'admin'] as const) {
      const path = `/v1/admin/operators/${role}/token`;
      expect((await asked(at, 'POST', path, before.viewer)).status).toBeOneOf([401, 403]);
      expect(await asked(at, 'POST', path, before.admin)).toMatchObject({ status: 200 });
      expect((await asked(at, 'GET', '/v1/admin/status', before[role])).status).toBe(401);
      expect((await asked(at, 'GET', '/v1/admin/status', operator(at, role))).status).toBe(200);
    }
    const admin = operator(at, 'admin');
    expect((await asked(at, 'POST', '/v1/admin/operators/root/token', admin)).status).toBe(404);
    expect((await asked(at, 'POST', '/v1/admin/clients/nobody/token', admin)).status).toBe(404);
    expect(readdirSync(at.server.operators).sort()).toEqual(['admin.token', 'viewer.token']);
    expect(readdirSync(at.server.tokens)).not.toContain('nobody.token');
  });
});
