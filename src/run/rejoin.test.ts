import { readFileSync } from 'node:fs';
import { join as at } from 'node:path';
import { expect, test } from 'vitest';
import { joinsAs, serving, toTheEnd } from '../../tests/support/serving.ts';
import { temporaryFolder } from '../../tests/support/temporary.ts';
import { smallServed, writeFewRows } from '../../tests/support/workspace.ts';
import type { RunConfigInput } from '../config/schema.ts';
import { openAdmin } from './admin.ts';
import { join, type JoinOptions } from './join.ts';

const folder = temporaryFolder();

test('a client whose key was revoked goes on in its folder with a new token', async () => {
  writeFewRows(at(folder, 'rows.jsonl'));
  const config: RunConfigInput = {
    ...smallServed,
    // ben never comes: the run waits, while ann is revoked and comes back.
    serve: { clients: ['ann', 'ben'], port: 0, gather: 20 },
  };
  const { events, url, tokens, operators } = await serving(config, { out: at(folder, 'server') });
  const running = toTheEnd(events);
  const token = (): string => readFileSync(at(tokens, 'ann.token'), 'utf8').trim();
  const control = new AbortController();
  const options = (more: Partial<JoinOptions>): JoinOptions => ({ ...joinsAs(url, folder), ...more });
  const old = token();
  for await (const { kind } of join(options({ token: old, signal: control.signal }))) if (kind === 'joined') break;

  const admin = openAdmin({
    url,
    token: readFileSync(at(operators, 'admin.token'), 'utf8').trim(),
    signal: control.signal,
  });
  const joined = (await admin.audit()).lines.find(({ what }) => what === 'joined');
  expect(joined?.detail).toMatch(/^fedlora \S+ \((commit [0-9a-f]{40}, )?Node v\S+, ONNX Runtime \S+\)$/);
  await admin.revoke('ann');
  await expect(drained(join(options({})))).rejects.toThrow('your part in this run has ended');
  const { file } = await admin.renewClient('ann');
  expect(file).toBe(at(tokens, 'ann.token'));
  // Neither the key nor the token of before opens anything.
  await expect(drained(join(options({})))).rejects.toThrow('this key is not known here');
  await expect(drained(join(options({ token: old })))).rejects.toThrow('this enrolment token is not known here');
  await admin.revoke('ben');
  expect(await drained(join(options({ token: token() })))).toBe('finished');
  await running;
});

async function drained(events: ReturnType<typeof join>): Promise<string> {
  for (;;) {
    const next = await events.next();
    if (next.done) return next.value.how;
  }
}
