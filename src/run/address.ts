import { UserError } from '../errors.ts';

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
