import type { RunConfig } from '../config/schema.ts';
import { UserError } from '../errors.ts';

/** Throws UserError where no round can have `rounds.minimum` updates: nothing is then computed in vain. `proxy`: whether the server has rows of its own. */
export function checkMinimum({ rounds: { minimum } }: Pick<RunConfig, 'rounds'>, clients: number, proxy = false): void {
  if (minimum <= clients + (proxy ? 1 : 0)) return;
  throw new UserError(
    `rounds.minimum is ${minimum}, and there are ${clients} client(s): no round could have so many updates. Lower it, or have more clients`,
  );
}
