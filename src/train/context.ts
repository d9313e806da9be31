import type { ClientData } from '../data/types.ts';
import { UserError } from '../errors.ts';
import type { Engine } from '../runtime/engine.ts';
import { stream, type Random } from '../tensor/random.ts';

/** Whose work it is, and what for. */
export interface WorkContext {
  readonly client: ClientData;
  readonly engine: Engine;
  readonly seed: number;
  /** The stage's name. */
  readonly stage: string;
  /** Round within the stage, from 0. */
  readonly round: number;
  /** The round counted over all the method's stages of this name; default: `round`. */
  readonly draw?: number;
  /** How many such rounds there are in all. */
  readonly rounds: number;
  readonly signal: AbortSignal;
  /** The server's own rows; default: a client's. */
  readonly server?: true;
}

/** Draws of one purpose. The method's label is no part of the name: in the same round two methods meet the same batches. */
export const draws = ({ seed, stage, round, draw, client }: WorkContext, purpose: string): Random =>
  stream(seed, purpose, stage, draw ?? round, client.id);

/** Throws where the client has no training rows. */
export function requireRows({ client }: WorkContext): void {
  if (client.train.length === 0) throw new UserError(`client “${client.id}” has no training rows`);
}
