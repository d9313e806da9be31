import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { UserError } from '../errors.ts';
import type { Api } from '../federation/http/client/api.ts';
import { clientNameSchema, identitySchema, PROTOCOL, secretSchema } from '../federation/http/protocol.ts';
import { newSecret } from '../federation/http/server/keys.ts';
import { keyPair, type KeyPair } from '../federation/secure/keys.ts';
import { writeAtomically } from '../formats/files/atomic.ts';
import { makeOut } from '../formats/files/out-folder.ts';
import { textOfFile } from '../formats/files/read.ts';
import { codeLine } from './environment.ts';
import { version } from './version.ts';

const keyFileSchema = z.strictObject({
  run: z.string(),
  key: secretSchema,
  /** The private key by which other clients know this one (Ed25519, base64url); its public half goes to the server once. */
  identity: secretSchema.exactOptional(),
  client: clientNameSchema.exactOptional(),
});
type KeyFile = z.output<typeof keyFileSchema>;

const keyFile = (out: string): string => join(out, 'key.json');

/** The key of an earlier process; undefined where there is none. Throws UserError where it is for another run. */
export async function readKey(out: string, run: string): Promise<KeyFile | undefined> {
  const text = await readFile(keyFile(out), 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return undefined;
    throw error;
  });
  if (text === undefined) return undefined;
  const saved = keyFileSchema.parse(JSON.parse(text));
  if (saved.run === run) return saved;
  throw new UserError(`${out} belongs to another run of the server: choose another --out`);
}

/** Exchanges the token for a key of one's own, which is on the disk before it is sent. */
export async function enrolled(
  api: Api,
  out: string,
  run: string,
  token: string | undefined,
  saved: KeyFile | undefined,
): Promise<{ readonly client: string; readonly key: string; readonly identity: string | undefined }> {
  if (token === undefined)
    throw new UserError('joining for the first time needs --token (or FEDLORA_TOKEN): ask whoever runs the server');
  if (!secretSchema.safeParse(token).success)
    throw new UserError('--token: this is no enrolment token, which has 43 letters, digits, - and _');
  const key = saved?.key ?? newSecret();
  const identity = saved?.identity ?? newSecret();
  // Before the token is used: it is good once.
  await makeOut(out, 0o700);
  const save = (client?: string): Promise<void> =>
    writeAtomically(
      keyFile(out),
      `${JSON.stringify({ run, key, identity, ...(client !== undefined && { client }) })}\n`,
      undefined,
      0o600,
    );
  await save();
  const own = encodedIdentity(ownIdentity(out, identity));
  const request = { protocol: PROTOCOL, fedlora: version, run, key, identity: own, code: await codeLine() };
  const client = await api.join(request, token);
  await save(client);
  return { client, key, identity };
}

/** The key pair of what the key file holds. Throws UserError where that is of a version that had none. */
export function ownIdentity(out: string, secret: string | undefined): KeyPair {
  if (secret === undefined)
    throw new UserError(`${keyFile(out)} has no identity, which secure sums need: it was made by an earlier fedlora`);
  return keyPair('ed25519', new Uint8Array(Buffer.from(secret, 'base64url')));
}

/** The public half, as clients tell it each other. */
export const encodedIdentity = ({ publicKey }: KeyPair): string => Buffer.from(publicKey).toString('base64url');

/**
 * The identities of all with whom a client will add up: one a line, what follows a space is a note, `#` begins a comment.
 * Throws UserError where a line is something else, or the client's own is not among them.
 */
export async function readIdentities(path: string, own: string): Promise<ReadonlySet<string>> {
  const found = new Set<string>();
  for (const [i, line] of (await textOfFile(path)).split(/\r?\n/).entries()) {
    const [word = ''] = line.replace(/#.*/, '').trim().split(/\s+/);
    if (word === '') continue;
    if (!identitySchema.safeParse(word).success)
      throw new UserError(`${path}, line ${i + 1}: no identity, which has 43 letters, digits, - and _`);
    found.add(word);
  }
  if (!found.has(own))
    throw new UserError(`${path} does not have this client’s own identity, ${own}: is it of this run?`);
  return found;
}
