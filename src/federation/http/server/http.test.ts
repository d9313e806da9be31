import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { federationTools } from '../../../../tests/support/served.ts';
import { newSecret } from './keys.ts';
import { operatorRoutes } from './operator-routes.ts';
import { routes } from './routes.ts';

const tools = federationTools();

test('every route takes the kind of key that it says, and no other', async () => {
  const { server } = await tools.serve(tools.folder());
  const { key: client } = await tools.joined(server, 'ann');
  const operator = (role: string): string => readFileSync(join(server.operators, `${role}.token`), 'utf8').trim();
  const secrets = { client, viewer: operator('viewer'), admin: operator('admin'), unknown: newSecret(), none: '' };
  const allowed = { client: ['client'], viewer: ['viewer', 'admin'], admin: ['admin'] };
  for (const { method, path, about } of [...routes, ...operatorRoutes]) {
    if (about.who === 'anyone' || about.who === 'enrolment') continue;
    for (const [kind, secret] of Object.entries(secrets)) {
      if (allowed[about.who].includes(kind)) continue;
      const { status } = await fetch(`${server.url}${path.replace(/\{\w+\}/, 'a')}`, {
        method,
        headers: secret === '' ? {} : { authorization: `Bearer ${secret}` },
      });
      expect(status, `${method} ${path} with ${kind}`).toBe(kind === 'viewer' && about.who === 'admin' ? 403 : 401);
    }
  }
});
