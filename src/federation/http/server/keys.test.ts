import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { journalIn } from '../../../../tests/support/federation.ts';
import { federationTools } from '../../../../tests/support/served.ts';
import { keysOf, newSecret, type Keys } from './keys.ts';
import { openStore } from './store.ts';

const tools = federationTools();
const day = 86_400_000;

/** Keys over one folder, with a clock that is set by hand. */
function hand(folder: string) {
  const clock = { now: Date.UTC(2026, 0, 1) };
  const now = (): number => clock.now;
  const journal = journalIn(folder);
  const store = openStore(join(folder, 'server.sqlite'), journal, now);
  onTestFinished(() => {
    store.close();
    journal.close();
  });
  const keys = (days?: number): Keys => keysOf(store, folder, 24, days, now);
  const joined = async (to: Keys): Promise<string> => {
    const key = newSecret();
    expect(await to.join(readFileSync(join(folder, 'ann.token'), 'utf8').trim(), key, '1')).toBe('ann');
    return key;
  };
  return { clock, keys, joined };
}

test('a key is valid for so many days, also over a restart, and a new token renews it', async () => {
  const { clock, keys, joined } = hand(tools.folder());
  const first = keys(30);
  await first.issue(['ann']);
  const key = await joined(first);
  expect(first.until('ann')).toBe(clock.now + 30 * day);
  clock.now += 30 * day - 1;
  expect(first.who(key)).toBe('ann');
  const again = keys(30);
  expect(again.who(key)).toBe('ann');
  clock.now += 1;
  for (const one of [first, again]) expect(() => one.who(key)).toThrow('your key has expired; with a new token');
  expect(again.ended('ann')).toMatchObject({ status: 401, code: 'key-expired' });
  // A start makes no token for it: who goes on is the operator's to say.
  await again.issue(['ann']);
  await expect(joined(again)).rejects.toThrow('ENOENT');
  await again.renew('ann');
  expect(again.until('ann')).toBeUndefined();
  const renewed = await joined(again);
  expect(again.who(renewed)).toBe('ann');
  expect(() => again.who(key)).toThrow('this key is not known here');
  clock.now += 30 * day;
  expect(() => again.who(renewed)).toThrow('your key has expired');
});

test('without a limit a key is valid for good; a limit set later counts from when it was made', async () => {
  const { clock, keys, joined } = hand(tools.folder());
  const first = keys();
  await first.issue(['ann']);
  const key = await joined(first);
  clock.now += 4000 * day;
  expect(first.who(key)).toBe('ann');
  expect([first.ended('ann'), first.until('ann')]).toEqual([undefined, undefined]);
  expect(() => keys(30).who(key), 'when it joined was noted').toThrow('your key has expired');
  first.revoke('ann');
  expect(() => keys(30).who(key)).toThrow('your part in this run has ended');
});
