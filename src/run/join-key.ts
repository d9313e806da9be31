import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { UserError } from '../errors.ts';
import type { Api } from '../federation/http/client/api.ts';
import { clientNameSchema, PROTOCOL, secretSchema } from '../federation/http/protocol.ts';
import { newSecret } from '../federation/http/server/keys.ts';
import { writeAtomically } from '../formats/files/atomic.ts';
import { version } from './version.ts';

const keyFileSchema = z.strictObject({
  run: z.string(),
  key: secretSchema,
  client: clientNameSchema.exactOptional(),
});
type KeyFile = z.output<typeof keyFileSchema>;

const keyFile = (out: string): string => join(out, 'key.json');

/** The key of an earlier process; undefined where there is none. Throws UserError where it is for another run. */
export async function readKey(out: string, run: string): Promise<KeyFile | undefined> {
  const text = await readFile(keyFile(out), 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
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
): Promise<{ readonly client: string; readonly key: string }> {
  if (token === undefined)
    throw new UserError('joining for the first time needs --token (or FEDLORA_TOKEN): ask whoever runs the server');
  if (!secretSchema.safeParse(token).success)
    throw new UserError('--token: this is no enrolment token, which has 43 letters, digits, - and _');
  const key = saved?.key ?? newSecret();
  await mkdir(out, { recursive: true, mode: 0o700 });
  const save = (client?: string): Promise<void> =>
    writeAtomically(
      keyFile(out),
      `${JSON.stringify({ run, key, ...(client !== undefined && { client }) })}\n`,
      undefined,
      0o600,
    );
  await save();
  const client = await api.join({ protocol: PROTOCOL, fedlora: version, run, key }, token);
  await save(client);
  return { client, key };
}
