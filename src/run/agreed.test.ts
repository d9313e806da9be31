import { mkdtempSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { temporaryFolder } from '../../tests/support/temporary.ts';
import { checkConfig } from '../config/check.ts';
import type { Description } from '../federation/http/protocol.ts';
import { agreedOf, keepAgreed, requireAgreed } from './agreed.ts';
import { knownMethods } from './methods.ts';

const root = temporaryFolder();
const read = (config: Description['config']) =>
  checkConfig(
    {
      ...config,
      model: { path: 'here' },
      data: { ...(config['data'] as object), path: 'mine.jsonl' },
    },
    knownMethods(),
  );
const description = (config: object, clients = 4): Description =>
  ({
    clients,
    config: { data: { format: 'jsonl' }, methods: [{ use: 'fedit' }], ...config },
  }) as unknown as Description;

test('a server is held to what it said when a client joined: masks, guards, rounds and how many take part', async () => {
  const out = mkdtempSync(join(root, 'a-'));
  const told = agreedOf(description({ combine: 'secure', rounds: { count: 3 } }));
  await requireAgreed(out, told, read);
  await keepAgreed(out, told);
  await requireAgreed(out, told, read);
  // A later fedlora has more keys, with their defaults.
  await requireAgreed(out, agreedOf(description({ combine: 'secure', rounds: { count: 3 }, seed: 1 })), read);
  const other = (config: object, clients?: number): Promise<void> =>
    requireAgreed(out, agreedOf(description(config, clients)), read);
  await expect(other({ rounds: { count: 3 } })).rejects.toThrow(/combine: "secure" then, .* now/);
  await expect(other({ combine: 'secure', rounds: { count: 999 } })).rejects.toThrow('rounds.count: 3 then, 999 now');
  await expect(other({ combine: 'secure', rounds: { count: 3 } }, 3)).rejects.toThrow(
    'number of clients: 4 then, 3 now',
  );
  const identity = 'S'.repeat(43);
  const own = {
    ...description({ combine: 'secure', rounds: { count: 3 } }),
    serverRows: true,
    serverIdentity: identity,
  };
  await expect(requireAgreed(out, agreedOf(own as Description), read)).rejects.toThrow(
    `identity of the server’s rows: nothing then, "${identity}" now`,
  );
  // And kept once: what it says later makes no difference.
  await keepAgreed(out, agreedOf(description({})));
  await expect(other({})).rejects.toThrow('combine');
});
