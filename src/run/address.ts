import { hostname } from 'node:os';
import { UserError } from '../errors.ts';
import { pinned, type Pinned } from '../federation/http/client/pinned.ts';

/** Undefined where certificates are judged as usual. Throws UserError for a fingerprint that cannot be checked. */
export function trustOf({ url, fingerprint }: { url: string; fingerprint?: string }): Pinned | undefined {
  if (fingerprint === undefined) return undefined;
  if (new URL(url).protocol !== 'https:')
    throw new UserError(`${url}: there is no certificate to compare with the fingerprint; use https://`);
  return pinned(fingerprint);
}

/** The address by which other machines may know a server that listens on all addresses of this one: by its name, if they know that. */
export const forOthers = (url: string, name: string = hostname()): string =>
  url.replace(/^(https?:\/\/)(?:0\.0\.0\.0|\[::\])(?=[:/]|$)/, `$1${name}`);

/** Throws UserError for what is no server's address, and for one to which keys would travel unencrypted. */
export function requireEncryption(url: string): void {
  let parsed: URL;
  try {
    parsed = new URL(url);
  } catch {
    throw new UserError(`${url} is no address: expected https://HOST:PORT`);
  }
  const { protocol, hostname } = parsed;
  const here = ['127.0.0.1', '[::1]', 'localhost'].includes(hostname);
  if (protocol === 'https:' || (protocol === 'http:' && here)) return;
  throw new UserError(`${url}: tokens would travel unencrypted; use https://, or a server on this machine`);
}
