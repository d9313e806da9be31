import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { writeAtomically } from '../../../formats/files/atomic.ts';
import { Refusal } from '../refusal.ts';
import type { Store } from './store.ts';

/** Who may take part: one-time tokens that an operator hands out, and the keys that clients make for themselves. */
export interface Keys {
  /** Makes a token for every client that has neither a key nor a valid token, each in a file that only this user reads. Gives the folder. */
  issue(names: readonly string[]): Promise<string>;
  /** A client's name for its token, which from then on goes with this key only. Refuses unknown, expired and used tokens. */
  join(token: string, key: string, fedlora: string): Promise<string>;
  /** The client with this key. Refuses all others, and keys that were revoked or have expired. */
  who(key: string): string;
  /** Until when a client's key is valid, milliseconds since 1970; undefined where it has none, or for good. */
  until(name: string): number | undefined;
  /** Why a client's key is not valid any more; undefined where it is. */
  ended(name: string): Refusal | undefined;
  /** Makes a new token for a client, whose key and token from before are not valid any more; a revoked one takes part again with it. Refuses names that are not known. */
  renew(name: string): Promise<TokenMade>;
  /** From now on the client's key and token are not valid. Refuses names that are not known. */
  revoke(name: string): void;
  /** A client leaves: the same, and its record is forgotten. Gives the payloads of its updates that are still kept. */
  leave(name: string): readonly string[];
  /** Tells of each client that is revoked from now on. */
  onRevoked(listener: (client: string) => void): void;
}

/** Where a new token lies on the server's machine, and until when it is valid, milliseconds since 1970. */
export interface TokenMade {
  readonly file: string;
  readonly expires: number;
}

export const hashOf = (secret: string): string => createHash('sha256').update(secret).digest('hex');

/** Compares two hashes in constant time. */
export const same = (a: string, b: string): boolean =>
  a.length === b.length && timingSafeEqual(Buffer.from(a, 'utf8'), Buffer.from(b, 'utf8'));

/** Tokens whose files are written at a time. */
const AT_ONCE = 64;

/** 256 random bits, base64url. */
export const newSecret = (): string => randomBytes(32).toString('base64url');

/**
 * Keys over the store. Secrets have 256 random bits and are found and compared by their hashes, in constant time.
 * @param folder where token files go
 * @param hours how long a token is valid
 * @param days how long a key is
 */
export function keysOf(
  store: Store,
  folder: string,
  hours: number,
  days: number = Infinity,
  now: () => number = Date.now,
): Keys {
  const rows = store.clients();
  const known = new Map(rows.flatMap(({ name, key }) => (key === undefined ? [] : [[key, name] as const])));
  const tokens = new Map(rows.flatMap(({ name, token }) => (token === undefined ? [] : [[token, name] as const])));
  const gone = new Set([...known.values()].filter((name) => store.revoked(name) !== undefined));
  const set = new Map(days === Infinity ? [] : [...known.values()].map((name) => [name, store.keySet(name)] as const));
  const listeners: ((client: string) => void)[] = [];
  const file = (name: string): string => join(folder, `${name}.token`);
  const end = (name: string): void => {
    gone.add(name);
    for (const listener of listeners) listener(name);
  };
  const until = (name: string): number | undefined => {
    const made = set.get(name);
    return days === Infinity || made === undefined ? undefined : made + days * 86_400_000;
  };
  const ended = (name: string): Refusal | undefined => {
    if (gone.has(name)) return revoked();
    return (until(name) ?? Infinity) <= now() ? expired() : undefined;
  };
  return {
    async issue(names) {
      await mkdir(folder, { recursive: true, mode: 0o700 });
      const rows = new Map(store.clients().map((row) => [row.name, row]));
      const without = names.filter((name) => {
        const row = rows.get(name);
        const valid = row?.key !== undefined || (row?.token !== undefined && row.tokenExpires > now());
        return !valid && store.revoked(name) === undefined;
      });
      for (let i = 0; i < without.length; i += AT_ONCE) {
        const made = without.slice(i, i + AT_ONCE).map((name) => ({ name, token: newSecret() }));
        // The files first: a token that nobody can read would block the name until it expires.
        await Promise.all(made.map(({ name, token }) => writeAtomically(file(name), `${token}\n`, undefined, 0o600)));
        store.setTokens(
          made.map(({ name, token }) => ({ name, hash: hashOf(token) })),
          now() + hours * 3_600_000,
        );
        for (const { name, token } of made) {
          const before = rows.get(name)?.token;
          if (before !== undefined) tokens.delete(before);
          tokens.set(hashOf(token), name);
        }
      }
      return folder;
    },
    async join(token, key, fedlora) {
      // Found by hash: whoever measures the time of the search learns of hashes, not of tokens.
      const hash = hashOf(token);
      const name = tokens.get(hash);
      const row = name === undefined ? undefined : store.client(name);
      if (row?.token === undefined || !same(row.token, hash))
        throw new Refusal(401, 'token', 'this enrolment token is not known here');
      if (store.revoked(row.name) !== undefined) throw revoked();
      if (row.key !== undefined) {
        if (same(row.key, hashOf(key))) return row.name;
        throw new Refusal(409, 'token-used', 'this enrolment token was used already, with another key');
      }
      if (row.tokenExpires <= now())
        throw new Refusal(401, 'token-expired', 'this enrolment token has expired; ask for a new one');
      store.setKey(row.name, hashOf(key), fedlora);
      known.set(hashOf(key), row.name);
      set.set(row.name, store.keySet(row.name));
      await rm(file(row.name), { force: true });
      return row.name;
    },
    who(key) {
      // By hash too.
      const name = known.get(hashOf(key));
      if (name === undefined) throw new Refusal(401, 'key', 'this key is not known here');
      const why = ended(name);
      if (why !== undefined) throw why;
      return name;
    },
    ended,
    until,
    async renew(name) {
      const row = store.client(name);
      if (row === undefined) throw unknown();
      const token = newSecret();
      const expires = now() + hours * 3_600_000;
      await mkdir(folder, { recursive: true, mode: 0o700 });
      await writeAtomically(file(name), `${token}\n`, undefined, 0o600);
      // Whatever came meanwhile is over as well.
      const before = store.client(name);
      store.renew(name, hashOf(token), expires);
      if (before?.key !== undefined) known.delete(before.key);
      set.delete(name);
      if (before?.token !== undefined) tokens.delete(before.token);
      tokens.set(hashOf(token), name);
      end(name);
      gone.delete(name);
      return { file: file(name), expires };
    },
    revoke(name) {
      if (store.client(name) === undefined) throw unknown();
      store.revoke(name);
      end(name);
    },
    leave(name) {
      const digests = store.forget(name);
      end(name);
      return digests;
    },
    onRevoked: (listener) => void listeners.push(listener),
  };
}

const unknown = (): Refusal => new Refusal(404, 'client', 'no client of this run has that name');

const expired = (): Refusal =>
  new Refusal(401, 'key-expired', 'your key has expired; with a new token from whoever runs the server you go on');

const revoked = (): Refusal =>
  new Refusal(
    401,
    'revoked',
    'your part in this run has ended: you have left, or whoever runs the server has ended it',
  );
