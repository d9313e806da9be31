import { countNumbers, zeros, zerosLike } from '../tensor/tensors.ts';
import type { ClientKit } from './kit.ts';

/**
 * A kit that trains nothing: every training ends where it began, every gradient is 0. What a stage's work does with it tells how
 * it goes about its task without any data: what it trains (`asked` is told how many numbers, on how many rows) and the shape of its
 * update.
 */
export function idleKit(
  client: string,
  round: number,
  asked: (numbers: number, rows: number | 'all') => void = () => undefined,
): ClientKit {
  return {
    client,
    round,
    overall: { round, rounds: round + 1 },
    examples: 1,
    labelledTokens: 1,
    signal: new AbortController().signal,
    // oxlint-disable-next-line require-yield -- there is no step to tell of
    async *train({ from, parametrisation, params, optimizer, length, batchSize, accumulate = 1 }) {
      const point = params ?? parametrisation.at(from).init;
      asked(countNumbers(point), 'steps' in length ? length.steps * batchSize * accumulate : 'all');
      return { params: point, adapter: from, optimizerState: optimizer.init(point), steps: 0, loss: 0, tokens: 0 };
    },
    // oxlint-disable-next-line require-yield -- as above
    async *gradient({ params, rows }) {
      asked(countNumbers(params), rows);
      return { gradients: zerosLike(params), loss: 0, tokens: 1 };
    },
    represent: async () => zeros([1, 1]),
  };
}
