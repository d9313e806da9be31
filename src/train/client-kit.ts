import { labelledTokens } from '../data/batches.ts';
import type { WorkContext } from './context.ts';
import { gradient } from './gradient.ts';
import type { ClientKit } from './kit.ts';
import { represent } from './represent.ts';
import { train } from './trainer.ts';

/** What a client can do with its own data in one round of a stage. Its random draws depend on seed, stage, round and client only. */
export function clientKit(context: WorkContext): ClientKit {
  const { client, round, draw = round, rounds, signal, server } = context;
  return {
    client: client.id,
    round,
    overall: { round: draw, rounds },
    ...(server && { server }),
    examples: client.train.length,
    labelledTokens: client.train.reduce((sum, row) => sum + labelledTokens(row), 0),
    signal,
    train: (request) => train(context, request),
    gradient: (request) => gradient(context, request),
    represent: (request) => represent(context, request),
  };
}
