import { PROTOCOL, type DataCounts, type Description, type JoinMessage } from '../protocol.ts';
import { Refusal } from '../refusal.ts';

/** Refuses a client that speaks otherwise than this run needs. */
export function requireFitting(description: Description, { protocol, fedlora, run, identity }: JoinMessage): void {
  if (protocol !== PROTOCOL)
    throw new Refusal(409, 'protocol', `this server speaks version ${PROTOCOL} of the protocol, not ${protocol}`);
  if (fedlora !== description.fedlora)
    throw new Refusal(
      409,
      'version',
      `this run is computed by fedlora ${description.fedlora}, and you have ${fedlora}`,
    );
  if (run !== description.run) throw new Refusal(409, 'run', 'this server runs another run by now');
  if (identity === undefined && description.config['combine'] === 'secure')
    throw new Refusal(422, 'identity', 'sums of this run are secure: send the public key of your identity');
}

/** Refuses counts where a run tells nothing, none where it needs them, and others than before. */
export function requireCounts(silent: boolean, data: DataCounts | null, before: DataCounts | null | undefined): void {
  if ((data === null) !== silent)
    throw new Refusal(
      422,
      'counts',
      silent
        ? 'this run has the guard `privacy`: counts of rows and tokens stay with you, send null'
        : 'this run needs your counts of rows and tokens',
    );
  if (before !== undefined && JSON.stringify(before) !== JSON.stringify(data))
    throw new Refusal(409, 'data', 'these are not the data with which you joined: their counts differ');
}
