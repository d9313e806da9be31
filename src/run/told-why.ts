import { RoundFailed } from '../federation/fatal.ts';

/**
 * What clients, and strangers who ask whether the server is ready, are told of a run that stopped: how many updates were missing, but
 * no client's name, reason or path of the server's, which whoever runs it reads in its log.
 * @param silent how many take part in a round is not to be told (the guard `privacy`)
 */
export function toldWhy(error: unknown, silent: boolean): string {
  if (error instanceof RoundFailed && !silent) return error.message.split('\n', 1)[0]!.slice(0, 1500);
  return 'it could not go on; whoever runs the server sees why';
}
