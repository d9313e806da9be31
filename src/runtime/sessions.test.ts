import { beforeEach, expect, test } from 'vitest';
import type { Session } from './session.ts';
import { keptOpen, lastUsed } from './sessions.ts';

let log: string[] = [];
beforeEach(() => {
  log = [];
});

/** A session that only says what happens to it; kind `bad` fails to open. */
async function open(kind: string): Promise<Session> {
  log.push(`open ${kind}`);
  await new Promise((resolve) => setTimeout(resolve, 1));
  if (kind === 'bad') throw new Error('no such graph');
  let closed = false;
  return {
    async run() {
      await new Promise((resolve) => setTimeout(resolve, 1));
      if (closed) throw new Error(`${kind} was closed while it ran`);
      log.push(`run ${kind}`);
      return {};
    },
    async close() {
      closed = true;
      log.push(`close ${kind}`);
    },
  };
}

test('kept open: each kind opens once, even for calls at once, and all close', async () => {
  const sessions = keptOpen(open);
  await Promise.all([sessions.run('a', {}), sessions.run('a', {}), sessions.run('b', {})]);
  await sessions.close();
  expect(log.toSorted()).toEqual(['close a', 'close b', 'open a', 'open b', 'run a', 'run a', 'run b']);
});

test('last used: only one is open, and none is closed while it runs', async () => {
  const sessions = lastUsed(open);
  await Promise.all([sessions.run('a', {}), sessions.run('b', {}), sessions.run('b', {}), sessions.run('a', {})]);
  await sessions.close();
  await sessions.close();
  expect(log.join(', ')).toBe('open a, run a, close a, open b, run b, run b, close b, open a, run a, close a');
});

test.each([
  ['kept open', keptOpen],
  ['last used', lastUsed],
] as const)('%s: what failed to open is tried again, and the others go on', async (_, make) => {
  const sessions = make(open);
  await expect(sessions.run('bad', {})).rejects.toThrow('no such graph');
  await expect(sessions.run('bad', {})).rejects.toThrow('no such graph');
  await sessions.run('a', {});
  await sessions.close();
  expect(log).toEqual(['open bad', 'open bad', 'open a', 'run a', 'close a']);
});
