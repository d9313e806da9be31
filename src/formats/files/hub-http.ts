import { HubApiError } from '@huggingface/hub';
import { UserError } from '../../errors.ts';
import type { HubSettings } from './hub-cache.ts';

/** Milliseconds without an answer, or without a further byte, after which a request is given up. */
export const SILENCE_MS = 30_000;

/** The server was not reached, or stopped answering: worth another try, or the cache. */
export class Unreachable extends Error {
  override readonly name = 'Unreachable';
}

/** A kept connection that the server had closed meanwhile: a new one may work. */
const brokenConnection = new Set(['UND_ERR_SOCKET', 'ECONNRESET', 'EPIPE']);

/**
 * fetch with the token for the Hub's own origin only (files come from other hosts, which must not see it) and a limit on silence
 * before the answer. Throws Unreachable for network errors.
 */
export function hubFetch(settings: HubSettings, signal?: AbortSignal, silenceMs = SILENCE_MS): typeof fetch {
  const { origin } = new URL(settings.endpoint);
  const attempt = async (url: string, init: RequestInit, again: boolean): Promise<Response> => {
    const silence = new AbortController();
    const timer = setTimeout(() => silence.abort(), silenceMs);
    const signals = [silence.signal, ...(signal === undefined ? [] : [signal])];
    try {
      return await fetch(url, { ...init, signal: AbortSignal.any(signals) });
    } catch (error) {
      signal?.throwIfAborted();
      const cause = (error as { readonly cause?: { readonly code?: string; readonly message?: string } }).cause;
      if (again && brokenConnection.has(cause?.code ?? '')) return await attempt(url, init, false);
      const why = silence.signal.aborted
        ? `no answer in ${silenceMs / 1000} s`
        : (cause?.code ?? cause?.message ?? (error as Error).message);
      throw new Unreachable(`${new URL(url).origin}: ${why}`, { cause: error });
    } finally {
      clearTimeout(timer);
    }
  };
  return (input, init) => {
    const url = input instanceof Request ? input.url : String(input);
    const headers = new Headers(init?.headers);
    if (settings.token !== undefined && new URL(url).origin === origin)
      headers.set('Authorization', `Bearer ${settings.token}`);
    return attempt(url, { ...init, headers }, true);
  };
}

/** What a person can do about an error of the Hub. */
export function explain(error: unknown, what: string, settings: HubSettings): unknown {
  if (error instanceof Unreachable)
    return new Error(
      `${what} cannot be fetched: ${error.message}. Check the network, set HF_ENDPOINT to a mirror, or give the path of a local folder`,
      { cause: error },
    );
  if (!(error instanceof HubApiError)) return error;
  const { statusCode: status, message } = error;
  const said = message.replace(/\.? URL: .*$/s, '').slice(0, 300);
  const token = settings.token === undefined ? 'no token is set' : 'a token is set';
  if (status === 401 || status === 403)
    return new UserError(
      `${what}: access refused (${status}: ${said}); ${token}. It may not exist, be private, or have terms to accept first at ${settings.endpoint}: set HF_TOKEN to a token that may read it`,
      { cause: error },
    );
  if (status === 404)
    return new UserError(
      `${what}: not found at ${settings.endpoint} (${said}). Check the name and the revision; a private one needs HF_TOKEN (${token})`,
      { cause: error },
    );
  return new Error(`${what}: ${settings.endpoint} answered ${status} (${said}); try again later`, { cause: error });
}

/** The error of an answer that is not ok, as the Hub's library makes it. */
export async function failure(response: Response): Promise<Error> {
  const text = (await response.text().catch(() => '')).slice(0, 300);
  return new HubApiError(response.url, response.status, undefined, text === '' ? response.statusText : text);
}
