import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import type { RunConfig } from '../config/schema.ts';
import { UserError } from '../errors.ts';
import { identitySchema, type Description } from '../federation/http/protocol.ts';
import { writeAtomically } from '../formats/files/atomic.ts';
import { readOptionalJson } from '../formats/files/json.ts';
import { comparable, differences } from './folder.ts';

/** What a client was told of a run when it joined. */
const agreedSchema = z.strictObject({
  clients: z.number(),
  serverRows: z.boolean(),
  serverIdentity: identitySchema.exactOptional(),
  config: z.record(z.string(), z.unknown()),
});
export type Agreed = z.output<typeof agreedSchema>;

const file = (out: string): string => join(out, 'agreed.json');

/** Of a description, all that says what a client does and what leaves it. Its own paths and threads are its own affair, and so is where it has the model. */
export const agreedOf = ({ clients, serverRows, serverIdentity, config }: Description): Agreed => ({
  clients,
  serverRows: serverRows === true,
  ...(serverIdentity !== undefined && { serverIdentity }),
  config,
});

/**
 * Throws UserError, naming what differs, where a server says other things of a run than when this client joined it: masks, noise or
 * rounds that were promised are no longer. @param read a described configuration as it is here, with defaults for keys that were not known then
 */
export async function requireAgreed(
  out: string,
  now: Agreed,
  read: (config: Description['config']) => RunConfig,
): Promise<void> {
  const kept = await readOptionalJson(file(out));
  if (kept === undefined) return;
  const then = agreedSchema.parse(kept);
  const plain = ({ clients, serverRows, serverIdentity, config }: Agreed): unknown => ({
    ...(comparable(read(config)) as object),
    model: null,
    'number of clients': clients,
    'rows of the server': serverRows,
    'identity of the server’s rows': serverIdentity,
  });
  const differing = differences(plain(then), plain(now));
  if (differing.length === 0) return;
  const lines = differing.map(({ key, there, here }) => `\n  ${key}: ${there} then, ${here} now`);
  throw new UserError(
    `the server says other things of this run than when you joined it:${lines.join('')}\nTo take part all the same, join anew with another --out and a new token (and --start-again where it has taken part before)`,
  );
}

/** Keeps what is agreed, once. */
export async function keepAgreed(out: string, agreed: Agreed): Promise<void> {
  if (!existsSync(file(out)))
    await writeAtomically(file(out), `${JSON.stringify(agreed, undefined, 2)}\n`, undefined, 0o600);
}
