import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { writeAtomically } from '../../../formats/files/atomic.ts';
import { Refusal } from '../refusal.ts';
import { hashOf, newSecret, same, type TokenMade } from './keys.ts';
import type { Role, Store } from './store.ts';

/** Who may look at a running server, and who may tell it what to do. */
export interface Operators {
  /** Makes a token for each role that has no valid one or whose file is gone, in files that only this user reads. Gives the folder. */
  issue(): Promise<string>;
  /** Makes a new token for a role; the one from before is not valid any more. */
  renew(role: Role): Promise<TokenMade>;
  /** The role of a token. Refuses unknown and expired ones. */
  role(token: string): Role;
  /** The same, refusing a viewer what only an admin may do. */
  require(token: string, least: Role): Role;
}

const ROLES: readonly Role[] = ['admin', 'viewer'];

/** @param folder where token files go; `hours`: how long a token is valid; `now`: milliseconds since 1970 */
export function operatorsOf(store: Store, folder: string, hours: number, now: () => number = Date.now): Operators {
  const role: Operators['role'] = (token) => {
    const hash = hashOf(token);
    // All are compared, whichever it is.
    const [found] = store.operators().filter((one) => same(one.token, hash));
    if (found === undefined) throw new Refusal(401, 'operator', 'this is no token of an operator of this server');
    if (found.expires <= now())
      throw new Refusal(
        401,
        'token-expired',
        'this operator token has expired; an admin or a restart of the server makes a new one',
      );
    return found.role;
  };
  const renew: Operators['renew'] = async (role) => {
    const file = join(folder, `${role}.token`);
    const token = newSecret();
    const expires = now() + hours * 3_600_000;
    await writeAtomically(file, `${token}\n`, undefined, 0o600);
    store.setOperator(role, hashOf(token), expires);
    return { file, expires };
  };
  return {
    async issue() {
      await mkdir(folder, { recursive: true, mode: 0o700 });
      for (const name of ROLES) {
        const row = store.operators().find((one) => one.role === name);
        if (row !== undefined && row.expires > now() && existsSync(join(folder, `${name}.token`))) continue;
        await renew(name);
      }
      return folder;
    },
    renew,
    role,
    require(token, least) {
      const found = role(token);
      if (least === 'admin' && found !== 'admin')
        throw new Refusal(403, 'role', 'a viewer may look, and this is for an admin');
      return found;
    },
  };
}
