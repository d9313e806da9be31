import { mkdtempSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { temporaryFolder } from '../../tests/support/temporary.ts';
import { UserError } from '../errors.ts';
import type { Api } from '../federation/http/client/api.ts';
import { newSecret } from '../federation/http/server/keys.ts';
import { encodedIdentity, enrolled, ownIdentity, readIdentities, readKey } from './join-key.ts';

const root = temporaryFolder();

test('an identity is made once, on the disk before its public half is told, and the same afterwards', async () => {
  const out = mkdtempSync(join(root, 'k-'));
  const run = 'a'.repeat(32);
  const told: (string | undefined)[] = [];
  const answer = async ({ identity }: Parameters<Api['join']>[0]): Promise<string> => {
    const kept = await readKey(out, run);
    expect(encodedIdentity(ownIdentity(out, kept?.identity))).toBe(identity);
    told.push(identity);
    if (told.length === 1) throw new Error('the connection broke');
    return 'ann';
  };
  const api = { join: answer } as unknown as Api;
  const token = newSecret();
  await expect(enrolled(api, out, run, token, undefined)).rejects.toThrow('the connection broke');
  const { client, identity } = await enrolled(api, out, run, token, await readKey(out, run));
  expect(client).toBe('ann');
  expect(new Set(told)).toEqual(new Set([encodedIdentity(ownIdentity(out, identity))]));
  expect(() => ownIdentity(out, undefined)).toThrow('key.json has no identity, which secure sums need');
});

test('a token is not used where the client’s folder cannot be made', async () => {
  const file = join(mkdtempSync(join(root, 'k-')), 'file');
  writeFileSync(file, '');
  let asked = 0;
  const api = { join: async () => ((asked += 1), 'ann') } as unknown as Api;
  for (const out of [file, join(file, 'below')]) {
    expect(await readKey(out, 'a'.repeat(32))).toBeUndefined();
    const joined = enrolled(api, out, 'a'.repeat(32), newSecret(), undefined);
    await expect(joined).rejects.toThrow(`${out}: this folder cannot be written to: a file stands where it`);
    await expect(joined).rejects.toBeInstanceOf(UserError);
  }
  expect(asked).toBe(0);
});

test('a list of identities has one a line, notes and comments, and the client’s own', async () => {
  const [one, two] = [1, 2].map((i) => encodedIdentity(ownIdentity('', Buffer.alloc(32, i).toString('base64url'))));
  const file = join(root, 'identities');
  writeFileSync(file, `# of this run\n${one} ann\r\n\n  ${two}\tben # by telephone\n`);
  expect([...(await readIdentities(file, one!))]).toEqual([one, two]);
  await expect(readIdentities(file, 'A'.repeat(43))).rejects.toThrow('does not have this client’s own identity');
  writeFileSync(file, `${one}\n${two!.slice(1)}\n`);
  await expect(readIdentities(file, one!)).rejects.toThrow('line 2: no identity, which has 43 letters');
  await expect(readIdentities(join(root, 'none'), one!)).rejects.toThrow('none: there is no such file');
});
